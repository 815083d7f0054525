"""TLS sessions are counted by several processes; a report on a day is made once."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from mta.mail.security import Result
from mta.mail.tls_session import AppliedPolicy, PolicyType, TlsSession
from mta.spool import tls_reports, tls_sessions
from mta.spool.tls_reports import DUE, SENT, Way
from mta.spool.tls_sessions import DAY_MS, Counted

DAY = 20_000
NOW = (DAY + 1) * DAY_MS + 3_600_000
POLICY = AppliedPolicy(PolicyType.TLSA, "mx.example.org", ("3 1 1 ab",))
GOOD = TlsSession("example.org", POLICY)
BAD = replace(GOOD, result=Result.EXPIRED, sending="192.0.2.1", host="mx.example.org", reason="x")


def counted(*some: tuple[TlsSession, int], day: int = DAY) -> list[Counted]:
    return [Counted(day, session, number) for session, number in some]


def test_what_two_processes_count_adds_up(table: Any) -> None:
    """The same session from two processes is one row with the sum; others stand beside it."""
    table.write(tls_sessions.add, counted((GOOD, 3), (BAD, 1)))
    table.write(tls_sessions.add, counted((GOOD, 4)))
    found = table.read(tls_sessions.of_domain, DAY, "example.org")
    assert {(one.session, one.count) for one in found} == {(GOOD, 7), (BAD, 1)}
    assert table.read(tls_sessions.of_domain, DAY + 1, "example.org") == []
    sums = table.read(tls_sessions.sums, DAY)
    assert [(one.kind, one.result, one.count) for one in sums] == [
        (PolicyType.TLSA, None, 7),
        (PolicyType.TLSA, Result.EXPIRED, 1),
    ]


def test_a_domain_with_thousands_of_hosts_does_not_fill_the_table(table: Any) -> None:
    """Attack: a new MX host for every message.  The rest is counted together, nothing is lost."""
    for batch in range(0, 1000, 250):
        hosts = [replace(BAD, host=f"mx{n}.example.org") for n in range(batch, batch + 250)]
        table.write(tls_sessions.add, counted(*((one, 1) for one in hosts)))
    found = table.read(tls_sessions.of_domain, DAY, "example.org")
    assert len(found) == tls_sessions.MOST_OF_DOMAIN + 1
    assert sum(one.count for one in found) == 1000
    (rest,) = [one for one in found if one.session.coarse]
    assert rest.session == BAD.coarsened() and rest.count == 1000 - tls_sessions.MOST_OF_DOMAIN


def test_too_many_domains_in_one_day_become_nobodys(
    table: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack: mail to ever new domains.  A day has so many rows, and then one more."""
    monkeypatch.setattr(tls_sessions, "MOST_OF_DAY", 10)
    many = [(replace(GOOD, domain=f"d{n}.example"), 2) for n in range(30)]
    table.write(tls_sessions.add, counted(*many))
    assert table.rows("SELECT count(*), sum(count) FROM tls_sessions") == [(11, 60)]
    assert table.rows("SELECT count FROM tls_sessions WHERE domain = ''") == [(40,)]


def plan(table: Any, now_ms: int = NOW, most: int = 5) -> int:
    names, delays = [f"id{n}" for n in range(most)], [1000 * n for n in range(most)]
    return int(table.write(tls_reports.plan, now_ms, 60_000, names, delays))


def test_each_domain_of_a_day_that_is_over_has_one_report(table: Any) -> None:
    """Planning twice, in steps or by two processes, gives each domain one row; today has none."""
    names = [f"d{n}.example" for n in range(7)]
    table.write(tls_sessions.add, counted(*((replace(GOOD, domain=name), 1) for name in names)))
    table.write(tls_sessions.add, counted((GOOD, 1), day=DAY + 1))
    assert [plan(table), plan(table), plan(table), plan(table)] == [5, 2, 0, 0]
    assert [one.report.domain for one in table.read(tls_reports.of_day, DAY)] == names
    assert table.read(tls_reports.of_day, DAY + 1) == []


def test_a_day_is_not_over_before_everything_is_counted(table: Any) -> None:
    """A minute after midnight another process may not have written its last sessions yet."""
    table.write(tls_sessions.add, counted((GOOD, 1)))
    assert plan(table, (DAY + 1) * DAY_MS + 59_000) == 0
    assert plan(table, (DAY + 1) * DAY_MS + 61_000) == 1


def test_a_claim_keeps_others_away_until_it_runs_out(table: Any) -> None:
    """Who died with a claim is followed by another; who comes back too late writes nothing."""
    table.write(tls_sessions.add, counted((GOOD, 1)))
    plan(table)
    late = NOW + 10_000
    (mine,) = table.write(tls_reports.claim, "me", late, late + 1000, 4)
    assert table.write(tls_reports.claim, "you", late + 999, late + 5000, 4) == []
    (yours,) = table.write(tls_reports.claim, "you", late + 1000, late + 5000, 4)
    assert yours == mine
    ended = replace(mine, state=SENT, ended_ms=late, ways=(Way("mailto:a@b.example", SENT, "x"),))
    assert not table.write(tls_reports.settle, ended, "me", None)
    assert table.write(tls_reports.settle, ended, "you", None)
    assert [one.report for one in table.read(tls_reports.of_day, DAY)] == [ended]
    assert table.write(tls_reports.claim, "me", late + 9_999_999, 0, 4) == []


def test_the_mail_enters_the_queue_with_the_word_that_it_did(
    table: Any, mail: Any, table_of: Callable[[str], Any]
) -> None:
    """A commit whose answer is lost does not send a report twice when it is repeated."""
    table.write(tls_sessions.add, counted((GOOD, 1)))
    plan(table)
    (one,) = table.write(tls_reports.claim, "me", NOW, NOW + 1000, 4)
    item = mail.intake("reports@example.org")
    sent = replace(one, state=SENT, queue_id=item.envelope.id)
    assert table.write(tls_reports.settle, sent, "me", item)

    def again(conn: Any) -> bool:
        conn = conn.execution_options(repeated=True)
        return tls_reports.settle(conn, sent, "me", item)

    assert table.write(again)
    assert table.rows("SELECT count(*) FROM messages") == [(1,)]
    (fate,) = table.read(tls_reports.of_day, DAY)
    assert fate.mail == ("queued",)


def test_what_was_not_sent_can_be_tried_again_and_what_was_sent_cannot(table: Any) -> None:
    """An operator's --send never makes a second report."""
    table.write(tls_sessions.add, counted((GOOD, 1), (replace(GOOD, domain="other.example"), 1)))
    plan(table)
    first, second = table.write(tls_reports.claim, "me", NOW + 10_000, NOW + 20_000, 4)
    table.write(tls_reports.settle, replace(first, state=SENT), "me", None)
    table.write(tls_reports.settle, replace(second, state="failed"), "me", None)
    assert table.write(tls_reports.again, DAY, "", NOW + 50) == 1
    (due,) = table.write(tls_reports.claim, "me", NOW + 60, NOW + 70, 4)
    assert (due.domain, due.state, due.report_id) == (second.domain, DUE, second.report_id)


def test_old_days_are_forgotten(table: Any) -> None:
    """What was counted and reported goes by day."""
    table.write(tls_sessions.add, counted((GOOD, 1), (BAD, 1)))
    plan(table)
    assert table.write(tls_sessions.purge, DAY, 100) == 0
    assert table.write(tls_sessions.purge, DAY + 1, 100) == 1
    table.write(tls_reports.purge, DAY + 1)
    assert table.rows("SELECT count(*) FROM tls_sessions") == [(0,)]
    assert table.rows("SELECT count(*) FROM tls_reports WHERE domain <> ''") == [(0,)]
