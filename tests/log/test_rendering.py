"""The two renderings of an event."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from mta.log.record import record
from mta.log.text import lines
from mta.mail.envelope import Asked, DeliverBy, Envelope, Origin, Recipient
from mta.mail.events import (
    Accepted,
    Attempted,
    Authenticated,
    AuthenticationFailed,
    Disconnected,
    Note,
    Operated,
    Refused,
    Reported,
    Restrained,
)
from mta.mail.outcome import Blame, Outcome, Peer, Timing, Tls, TlsLevel, Verdict
from mta.mail.queue_id import QueueId
from mta.mail.restraint import Restraint

ORIGIN = Origin("smtps", "192.0.2.7", "app.example", "app7", "ESMTPSA", "TLSv1.3 TLS_AES_256")
ENVELOPE = Envelope(
    QueueId("1M3V8Y0A00000001"),
    "a@example.com",
    2912,
    1_790_000_000_000,
    1_790_400_000_000,
    message_id="<m@example.com>",
    origin=ORIGIN,
)
RECIPIENT = Recipient(0, "u@example.org", "example.org", attempts=2)
PEER = Peer("mx1.example.org", "192.0.2.1", 25, Tls(TlsLevel.VERIFIED, "TLSv1.3", "AES"), use=2)


def attempted(outcome: Outcome, status: str, next_ms: int | None = None) -> Attempted:
    return Attempted(ENVELOPE, RECIPIENT, outcome, status, 0.1, 3.12, next_ms)


def test_the_site_is_in_the_line_and_in_the_record() -> None:
    """Whose hosts were to take the mail; a name from the DNS cannot forge a line."""
    outcome = Outcome(0, Verdict.DEFERRED, 0, "4.4.1", "no", "connect", Blame.SITE)
    event = replace(attempted(outcome, "deferred", 5), site="mx.example\nforged")
    assert ", site=mx.example?forged, dsn=4.4.1, " in lines(event)[0][1]
    assert record(event, 1)["site"] == "mx.example\nforged"


def test_the_cause_is_in_the_line_and_in_the_record() -> None:
    """Why it failed, in a word; a delivery has none."""
    outcome = Outcome(0, Verdict.DEFERRED, 421, "4.7.28", "no", "MAIL", cause="rate-limited")
    event = attempted(outcome, "deferred", 5)
    assert ", cause=rate-limited, dsn=4.7.28, " in lines(event)[0][1]
    assert record(event, 1)["cause"] == "rate-limited"
    done = attempted(Outcome(0, Verdict.DELIVERED, 250, "2.0.0", "ok", "DATA"), "sent")
    assert "cause=" not in lines(done)[0][1]


def test_a_throttle_is_one_line_with_its_samples_counted() -> None:
    """Which site, until when, why and how much; a reply in it cannot forge a line."""
    made = Restraint(
        12, "slow", "site", "mx.example", "rate-limited: 421 no\nforged", 0, 1_790_000_000_000,
        "site:mx.example", cause="rate-limited", rule="rate", samples=("421 no",) * 3, was=1,
        level=2, who="rule",
    )  # fmt: skip
    [(program, text)] = lines(Restrained(made, begins=True))
    assert (program, text) == (
        "qmgr",
        "slow 12: site mx.example: until 2026-09-21T14:13:20Z, by rule, cause=rate-limited,"
        " rule=rate, level=1->2, samples=3 (rate-limited: 421 no?forged)",
    )
    over = replace(made, ended_ms=5, ended_by="ann")
    assert lines(Restrained(over, begins=False)) == (
        ("qmgr", "slow 12: site mx.example: ended by ann"),
    )
    assert record(Restrained(made, begins=True), 1)["samples"] == ["421 no"] * 3


def test_accepted_is_three_lines_with_the_id_first() -> None:
    """An accepted message shows its client, its Message-ID and its envelope."""
    assert lines(Accepted(ENVELOPE, (RECIPIENT,))) == (
        (
            "smtpd",
            "1M3V8Y0A00000001: client=unknown[192.0.2.7], listener=smtps, proto=ESMTPSA, "
            "helo=<app.example>, tls=TLSv1.3, sasl_username=app7",
        ),
        ("cleanup", "1M3V8Y0A00000001: message-id=<m@example.com>"),
        ("qmgr", "1M3V8Y0A00000001: from=<a@example.com>, size=2912, nrcpt=1 (queue active)"),
    )


def test_what_a_message_needs_is_in_the_log() -> None:
    """SMTPUTF8, REQUIRETLS and their like stand in the line of the client and in the record."""
    event = Accepted(replace(ENVELOPE, utf8=True, require_tls=True), (RECIPIENT,))
    assert ", requires=SMTPUTF8/REQUIRETLS, tls=" in lines(event)[0][1]
    assert record(event, 1)["requires"] == ["SMTPUTF8", "REQUIRETLS"]


def test_delivery_line_has_the_shape_of_postfix() -> None:
    """relay, conn_use, delay, delays, tls, dsn and status stand in Postfix's order."""
    outcome = Outcome(
        0, Verdict.DELIVERED, 250, "2.0.0", "Ok: queued", "end of data", peer=PEER,
        timing=Timing(1.2, 1.8),
    )  # fmt: skip
    assert lines(attempted(outcome, "sent")) == (
        (
            "smtp",
            "1M3V8Y0A00000001: to=<u@example.org>, relay=mx1.example.org[192.0.2.1]:25, "
            "conn_use=2, delay=3.1, delays=0.1/0.02/1.2/1.8, tls=verified/TLSv1.3, dsn=2.0.0, "
            "status=sent (250 2.0.0 Ok: queued)",
        ),
    )


def test_refusal_names_the_host_and_the_command() -> None:
    """A failed attempt says who said what in reply to which command."""
    outcome = Outcome(0, Verdict.FAILED, 550, "5.1.1", "no such user", "RCPT", peer=PEER)
    (_, text) = lines(attempted(outcome, "bounced"))[0]
    assert text.endswith(
        "dsn=5.1.1, status=bounced (host mx1.example.org said: 550 5.1.1 no such user "
        "(in reply to RCPT))"
    )


def test_our_own_words_are_not_put_into_the_peers_mouth() -> None:
    """Where no reply came, the line has no host and no "said"."""
    outcome = Outcome(0, Verdict.DEFERRED, 0, "4.4.3", "DNS time-out", "DNS", Blame.SITE)
    (_, text) = lines(attempted(outcome, "deferred", 5))[0]
    assert "relay=none" in text
    assert text.endswith("dsn=4.4.3, status=deferred (DNS time-out)")


def test_what_was_required_of_tls_and_only_observed() -> None:
    """What was asked for, by whom, and what is missing stand behind the level that was reached."""
    tls = Tls(TlsLevel.ENCRYPTED, "TLSv1.3", "AES", "bad", "dane", "TLSA records of mx", "bad\n")
    peer = replace(PEER, tls=tls)
    outcome = Outcome(0, Verdict.DELIVERED, 250, "2.0.0", "Ok", "end of data", peer=peer)
    event = attempted(outcome, "sent")
    ((_, line),) = lines(event)
    assert ", tls=encrypted/TLSv1.3, tls_required=dane (TLSA records of mx)" in line
    assert ", tls_observed=(bad?), dsn=" in line
    made = record(event, 1)
    assert (made["tls_required"], made["tls_observed"]) == ("dane", "bad\n")


def test_log_injection_by_a_reply_or_a_login_is_impossible() -> None:
    """Attack: line breaks and escape sequences from outside forge log lines or paint terminals."""
    evil = "x\r\n1M3V8Y0A00000001: to=<v>, status=sent\x1b[2J\u2028y"
    events = [
        attempted(Outcome(0, Verdict.FAILED, 550, "5.0.0", evil, "RCPT", peer=PEER), "bounced"),
        AuthenticationFailed(ORIGIN, "PLAIN", evil, "credentials"),
        Refused(ORIGIN, "RCPT", evil, evil, evil, evil),
        Note("error", "queue", evil),
    ]
    for event in events:
        for _, text in lines(event):
            assert text.isprintable()


def test_authentication_failure_has_one_stable_shape() -> None:
    """fail2ban's filter relies on these words in this order."""
    event = AuthenticationFailed(ORIGIN, "LOGIN", "root", "credentials")
    assert lines(event) == (
        (
            "smtpd",
            "warning: unknown[192.0.2.7]: SASL LOGIN authentication failed: "
            "credentials, sasl_username=root",
        ),
    )


def test_a_client_cannot_have_somebody_else_banned() -> None:
    """Attack: a HELO name or login that looks like another client's address in the log."""
    origin = Origin("smtps", "192.0.2.7", "x[203.0.113.9]: SASL PLAIN authentication failed: ")
    login = "x, reason, unknown[203.0.113.9]: SASL PLAIN authentication failed: credentials"
    events = [
        AuthenticationFailed(origin, "PLAIN", login, "credentials"),
        Refused(origin, "MAIL", "530 5.7.0 no", "not authenticated", "a@b.example", ""),
        Disconnected(origin, "quit", 0, 3, 1.0),
        Authenticated(replace(origin, login=login), "PLAIN"),
    ]
    for event in events:
        ((_, text),) = lines(event)
        assert re.findall(r"\[([^]]*)\]", text)[0] == "192.0.2.7"


def test_the_filter_for_fail2ban_in_the_documents_matches() -> None:
    """docs/operation.rst prints a filter; it finds wrong passwords and nothing else."""
    document = (Path(__file__).parents[2] / "docs" / "operation.rst").read_text()
    written = re.search(r"^ *failregex = (.*)$", document, re.MULTILINE)
    assert written is not None
    wanted = re.compile(written[1].replace("<HOST>", r"(?P<host>[0-9a-f.:]+)"))

    # What a proxy says of a client changes nothing in that line
    origin = replace(ORIGIN, proxy="10.0.0.5", host_name="app.example")

    def found(reason: str) -> "re.Match[str] | None":
        ((program, text),) = lines(AuthenticationFailed(origin, "PLAIN", "x, y", reason))
        return wanted.search(f" relay mta/{program}[17]: {text}")

    matches = [found("credentials"), found("disabled")]
    assert [match and match["host"] for match in matches] == ["192.0.2.7", "192.0.2.7"]
    assert found("unavailable") is None


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.00004, "0"),
        (0.0123, "0.012"),
        (1.25, "1.2"),
        (9.96, "10"),
        (99.7, "100"),
        (4e5, "400000"),
    ],
)
def test_delays_are_plain_numbers_however_long(seconds: float, shown: str) -> None:
    """A message that waited for days has delay=400000, not 4e+05."""
    outcome = Outcome(0, Verdict.DEFERRED, 0, "4.4.3", "DNS time-out", "DNS", Blame.SITE)
    event = Attempted(ENVELOPE, RECIPIENT, outcome, "deferred", seconds, seconds, 5)
    (_, text) = lines(event)[0]
    assert f" delay={shown}, delays={shown}/0/0/0, " in text


def test_record_of_a_deferral() -> None:
    """The JSON object carries the reply in parts, the peer and the next attempt."""
    outcome = Outcome(0, Verdict.DEFERRED, 451, "4.7.1", "later", "RCPT", Blame.RECIPIENT, PEER)
    made = record(attempted(outcome, "deferred", 1_790_000_300_000), 1_790_000_003_000)
    assert made["type"] == "TransientFailure"
    assert made["event_time_ms"] == 1_790_000_003_000
    assert made["next_attempt_ms"] == 1_790_000_300_000
    assert made["response"] == {
        "code": 451,
        "enhanced_code": "4.7.1",
        "content": "later",
        "command": "RCPT",
        "remote": True,
    }
    assert (made["peer_name"], made["tls_level"]) == ("mx1.example.org", "verified")
    assert made["num_attempts"] == 2


def test_reports_tie_two_ids_together() -> None:
    """The line of a report names the message and the report (both can be grepped)."""
    event = Reported("1M3V8Y0A00000001", "1M3V8Y0B00000002", "failure")
    assert lines(event) == (
        ("bounce", "1M3V8Y0A00000001: sender failure notification: 1M3V8Y0B00000002"),
    )


def test_what_the_sender_asked_for_is_on_record() -> None:
    """The release stands in the line; the record has all of it, and nothing where nothing was."""
    asked = Asked("FULL", "x", 1_790_000_060_000, 4, DeliverBy(1_790_000_090_000, "R"))
    event = Accepted(replace(ENVELOPE, asked=asked), (replace(RECIPIENT, notify="NEVER"),))
    assert lines(event)[-1][1].endswith("nrcpt=1 (held until 2026-09-21T14:14:20Z)")
    found = record(event, 0)
    assert (found["ret"], found["envid"], found["priority"]) == ("FULL", "x", 4)
    assert (found["release_ms"], found["deliver_by_ms"]) == (1_790_000_060_000, 1_790_000_090_000)
    assert (found["deliver_by_mode"], found["notify"]) == ("R", ["NEVER"])
    assert "envid" not in record(Accepted(ENVELOPE, (RECIPIENT,)), 0)


def test_an_operator_at_work() -> None:
    """A verb on one message stands under its id, one on many says how many; none forges a line."""
    one = Operated("bounce", "anna\n", 2, 1, "1M87Z6Z57AF2TMW2", "no\x1b such project")
    assert lines(one) == (
        ("qmgr", "1M87Z6Z57AF2TMW2: bounce by anna?: 2 recipients: no? such project"),
    )
    many = Operated("hold", "anna", 1200, 900, "1M87Z6Z57AF2TMW2")
    assert lines(many) == (
        ("qmgr", "hold by anna: 1200 recipients of 900 messages, 1M87Z6Z57AF2TMW2 the first"),
    )
    assert record(many, 5) == {
        "schema": 1,
        "type": "Operation",
        "event_time_ms": 5,
        "verb": "hold",
        "who": "anna",
        "recipients": 1200,
        "messages": 900,
        "id": "1M87Z6Z57AF2TMW2",
        "text": "",
    }
