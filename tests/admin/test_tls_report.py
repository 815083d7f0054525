"""``mta tls report``: what was counted, what became of reports, and how one would look."""

import json
from dataclasses import replace

from mta.mail.security import Result
from mta.mail.tls_session import AppliedPolicy, PolicyType, TlsSession
from mta.spool import tls_reports, tls_sessions
from mta.spool.tls_reports import FAILED, Way
from mta.spool.tls_sessions import DAY_MS, Counted

GOOD = TlsSession("example.org", AppliedPolicy(PolicyType.NONE, "example.org"))
BAD = replace(GOOD, result=Result.EXPIRED, host="mx.example.org", reason="\x1b[2J")


def count(relay, session, number, days_ago=1):
    day = relay.now // DAY_MS - days_ago
    relay.write(tls_sessions.add, [Counted(day, session, number)])


def reported(relay, text="HTTP status 503\x1b[2J"):
    """Have a report on yesterday given up."""
    late_ms = relay.now % DAY_MS  # the day has just ended
    relay.write(tls_reports.plan, relay.now, min(late_ms, 1000), ["id1"], [-DAY_MS])
    (one,) = relay.write(tls_reports.claim, "me", relay.now, relay.now + 1000, 4)
    way = Way("https://example.org/r", FAILED, text)
    ended = replace(one, state=FAILED, ended_ms=relay.now, ways=(way,), text=text)
    assert relay.write(tls_reports.settle, ended, "me", None)


def test_a_table_for_people(relay):
    """Today and yesterday by domain and result; what a server answered cannot clear the screen."""
    count(relay, GOOD, 12)
    count(relay, BAD, 3)
    count(relay, GOOD, 1, days_ago=0)
    reported(relay)
    result = relay.run("tls", "report")
    assert result.exit_code == 0
    rows = [line.split() for line in result.stdout.splitlines()]
    assert rows[1] == ["DOMAIN", "POLICY", "SESSIONS", "RESULT"]
    assert rows[2] == ["example.org", "no-policy-found", "1", "good"]
    assert ["example.org", "no-policy-found", "12", "good"] in rows
    assert ["example.org", "no-policy-found", "3", "certificate-expired"] in rows
    assert "report to example.org: failed" in result.stdout
    assert "HTTP status 503\\x1b[2J" in result.stdout and "\x1b" not in result.stdout


def test_records_for_programs(relay):
    """One object for each domain, with its report."""
    count(relay, GOOD, 12)
    reported(relay, "no")
    (record,) = relay.json("tls", "report", "--day", "yesterday")
    assert record["sessions"] == [{"policy": "no-policy-found", "result": None, "count": 12}]
    report = record["report"]
    assert (report["id"], report["state"], report["mail"]) == ("id1", "failed", [])
    assert report["ways"] == [{"uri": "https://example.org/r", "state": "failed", "text": "no"}]


def test_nothing_to_show(relay):
    """Status 1, and a word about it."""
    result = relay.run("tls", "report", "--domain", "example.net")
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", "nothing was counted\n")
    assert relay.run("tls", "report", "--day", "someday").exit_code == 64


def test_a_report_as_it_would_be_sent(relay):
    """--preview prints the JSON; what a peer said is an escape in it.  Without a contact: 78."""
    count(relay, BAD, 3)
    result = relay.run("tls", "report", "--preview", "Example.org")
    assert result.exit_code == 78 and "contact" in result.stderr
    with relay.config.open("a") as config:
        config.write('\n[tls_report]\ncontact = "tls@home.example"\n')
    result = relay.run("tls", "report", "--preview", "Example.org")
    report = json.loads(result.stdout)
    assert report["contact-info"] == "tls@home.example"
    assert report["policies"][0]["failure-details"][0]["failed-session-count"] == 3
    assert "\x1b" not in result.stdout
    assert relay.run("tls", "report", "--preview", "other.example").exit_code == 1


def test_sending_again(relay):
    """What failed is due again; a day that is not over has no reports."""
    count(relay, GOOD, 1)
    reported(relay)
    result = relay.run("tls", "report", "--send", "--day", "yesterday")
    assert (result.exit_code, result.stdout.split()[0]) == (0, "1")
    (record,) = relay.json("tls", "report", "--day", "yesterday")
    assert record["report"]["state"] == "due"
    assert relay.run("tls", "report", "--send", "--day", "today").exit_code == 64
    assert relay.run("tls", "report", "--send").exit_code == 64
