"""From what was counted to reports that are on their way: by mail, by HTTPS, once each."""

import base64
import gzip
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from email import message_from_bytes, policy
from typing import Any

import dkim
import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from sqlalchemy import Engine, text
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from mta.dkim.keys import Key
from mta.dkim.rules import Keyring, Rules
from mta.dkim.sign import Signing
from mta.dns.answers import Answer, DnsTemporary, NoSuchName
from mta.mail.security import Result
from mta.mail.tls_session import AppliedPolicy, PolicyType, TlsSession
from mta.spool import tls_reports, tls_sessions
from mta.spool.engine import create_engine, reading, writing
from mta.spool.errors import SpoolUnavailable
from mta.spool.tls_sessions import DAY_MS, Counted
from mta.tlsrpt.document import Author
from mta.tlsrpt.reporter import EVERY_S, FIRST_S, Reporter
from mta.tlsrpt.settings import ReportSettings
from mta.tlsrpt.ways import NotTaken

DAY = 20_000
MIDNIGHT = (DAY + 1) * DAY_MS
HOUR = 3_600_000
POLICY = AppliedPolicy(PolicyType.NONE, "there.test")
BAD = TlsSession("there.test", POLICY, Result.STARTTLS_NOT_SUPPORTED, host="mx.there.test")
AUTHOR = Author("Home", "tls@home.test")
SETTINGS = ReportSettings(AUTHOR, "noreply@home.test", "relay.home.test", 3600.0, 14_400.0)
MAIL, HTTPS = "mailto:reports@there.test", "https://reports.there.test/tlsrpt"
SECRET = generate_private_key(65537, 2048)


class Store:
    """The spool, at once and in this thread."""

    def __init__(self, url: str) -> None:
        self.engine: Engine = create_engine(url)
        self.lose_next = False  # the commit happens, the answer does not come

    def write(self, fn: Callable[..., Any], *args: Any) -> Deferred[Any]:
        with writing(self.engine) as conn:
            result = fn(conn, *args)
        if self.lose_next and fn is tls_reports.settle:
            self.lose_next = False
            return fail(SpoolUnavailable("lost"))
        return succeed(result)

    def read(self, fn: Callable[..., Any], *args: Any) -> Deferred[Any]:
        with reading(self.engine) as conn:
            return succeed(fn(conn, *args))


class Signs:
    """Signs in this thread."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules

    def sign(self, signing: Signing) -> Deferred[bytes]:
        return succeed(signing.finish())


class World:
    """A reporter with everything it asks for."""

    def __init__(self, url: str) -> None:
        self.clock, self.store = Clock(), Store(url)
        self.now_ms = MIDNIGHT
        self.notes: list[Any] = []
        self.records: dict[str, Any] = {}
        self.asked: list[str] = []
        self.posted: list[tuple[str, bytes]] = []
        self.answers: list[Any] = []  # of the HTTPS server, in turn
        self.kicked = 0
        key = Key("home.test", "s1", SECRET)
        self.signer = Signs(Rules(Keyring([key])))
        self.random = 0.5
        self.reporter = self.new_reporter()
        self.count(BAD, 3)

    def new_reporter(self) -> Reporter:
        return Reporter(
            self.clock, self.store, self, self.signer, self.post, self.notes.append, SETTINGS,
            now_ms=lambda: self.now_ms, random=lambda: self.random, queued=self.kick,
        )  # fmt: skip

    def lookup(self, name: str, rdtype: str) -> Deferred[Answer]:
        self.asked.append(f"{name} {rdtype}")
        found = self.records.get(name, NoSuchName(name))
        if isinstance(found, Exception):
            return fail(found)
        return succeed(Answer(name, tuple(f'"{one}"' for one in found), 60))

    async def post(self, url: str, body: bytes) -> str:
        self.posted.append((url, body))
        answer = self.answers.pop(0) if self.answers else "HTTP status 200"
        if isinstance(answer, Exception):
            raise answer
        return str(answer)

    def kick(self) -> None:
        self.kicked += 1

    def count(self, session: TlsSession, number: int, day: int = DAY) -> None:
        self.store.write(tls_sessions.add, [Counted(day, session, number)])

    def turn(self, at_ms: int) -> None:
        """Let the reporter look at a moment after midnight."""
        self.now_ms = MIDNIGHT + at_ms
        done: list[Any] = []
        self.reporter.turn().addBoth(done.append)
        assert done and not isinstance(done[0], Failure)

    @property
    def fates(self) -> list[Any]:
        with reading(self.store.engine) as conn:
            return tls_reports.of_day(conn, DAY)

    def mail(self) -> list[bytes]:
        with reading(self.store.engine) as conn:
            rows = conn.execute(text("SELECT data FROM chunks ORDER BY message_id, number"))
            return [bytes(row.data) for row in rows]

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with reading(self.store.engine) as conn:
            return [tuple(row) for row in conn.execute(text(sql))]


@pytest.fixture
def world(spool_url: str) -> Iterator[World]:
    made = World(spool_url)
    yield made
    made.store.engine.dispose()


def record(*uris: str) -> list[str]:
    return [f"v=TLSRPTv1; rua={','.join(uris)}"]


def test_a_report_by_mail(world: World) -> None:
    """Its form is that of RFC 8460 §5.3, dkimpy verifies it, and it needs no TLS on its way."""
    world.records["_smtp._tls.there.test"] = record(MAIL)
    world.turn(HOUR)
    assert world.mail() == []  # planned for a moment later (§4.1)
    world.turn(4 * HOUR)
    (octets,) = world.mail()
    message = message_from_bytes(octets, policy=policy.default)
    assert message["From"] == "noreply@home.test" and message["To"] == "reports@there.test"
    assert message["TLS-Report-Domain"] == "there.test"
    assert message["TLS-Report-Submitter"] == "home.test"
    assert message["TLS-Required"] == "No"
    assert message.get_content_type() == "multipart/report"
    assert message["Content-Type"].params["report-type"] == "tlsrpt"
    words, file = message.iter_parts()
    assert "there.test" in words.get_content()
    assert file.get_content_type() == "application/tlsrpt+gzip"
    begin = DAY * 86_400
    assert file.get_filename().startswith(f"home.test!there.test!{begin}!{begin + 86399}!")
    report = json.loads(gzip.decompress(file.get_content()))
    assert report["policies"][0]["summary"]["total-failure-session-count"] == 3
    assert message["Subject"] == (
        f"Report Domain: there.test Submitter: home.test Report-ID: <{report['report-id']}>"
    )
    assert max(map(len, octets.split(b"\r\n"))) <= 998 and octets.isascii()
    assert b"\n" not in octets.replace(b"\r\n", b"")
    envelope = world.rows(
        "SELECT sender, tls_not_required, expires_ms - created_ms, size FROM messages"
    )
    assert [(row[0], bool(row[1]), *row[2:]) for row in envelope] == [
        ("noreply@home.test", True, DAY_MS, len(octets))
    ]
    assert world.rows("SELECT address, notify FROM recipients") == [("reports@there.test", "NEVER")]
    assert verified(octets)
    assert world.kicked == 1
    (fate,) = world.fates
    assert (fate.report.state, fate.mail) == ("sent", ("queued",))


def verified(octets: bytes) -> bool:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    public = SECRET.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    key = b"v=DKIM1; k=rsa; s=tlsrpt; p=" + base64.b64encode(public)
    signed = octets.partition(b"\r\n\r\n")[0].lower()
    assert b"tls-report-domain:tls-report-submitter" in signed.replace(b"\r\n\t", b"").replace(
        b" ", b""
    )
    assert b"l=" not in signed.partition(b"dkim-signature")[2].partition(b"bh=")[0]
    return bool(dkim.DKIM(octets, tlsrpt="strict").verify(dnsfunc=lambda name, timeout=5: key))


def test_nobody_is_asked_before_the_day_is_over(world: World) -> None:
    """The DNS is asked when the report is due, and then once; without a record that is the end."""
    world.count(replace(BAD, domain="today.test"), 1, DAY + 1)
    world.turn(30_000)
    world.turn(HOUR)
    assert world.asked == []
    world.turn(4 * HOUR)
    world.turn(30 * HOUR - 6 * HOUR - 1)
    assert world.asked == ["_smtp._tls.there.test TXT"]
    (fate,) = world.fates
    assert (fate.report.state, fate.report.text) == ("none", "no TLSRPT record")
    assert world.mail() == [] and world.posted == []


def test_a_report_by_https_is_tried_again_for_a_day(world: World) -> None:
    """§5.5: with growing pauses, the same octets under the same id, until it is taken."""
    world.records["_smtp._tls.there.test"] = record(HTTPS)
    world.answers = [NotTaken("HTTP status 503"), NotTaken("no answer"), "HTTP status 201"]
    world.turn(HOUR)
    for at_ms in range(4 * HOUR, 6 * HOUR, 60_000):
        world.turn(at_ms)
    assert len(world.posted) == 3 and len(set(world.posted)) == 1
    (fate,) = world.fates
    assert (fate.report.state, fate.report.ways[0].text) == ("sent", "HTTP status 201")
    assert fate.report.tries == 2 and fate.report.body is None


def test_after_a_day_it_is_given_up(world: World) -> None:
    """A server that never answers costs a few tries, and is told in the log."""
    world.records["_smtp._tls.there.test"] = record(HTTPS)
    world.answers = [NotTaken("HTTP status 503")] * 100
    world.turn(HOUR)
    for at_ms in range(4 * HOUR, 40 * HOUR, HOUR // 4):
        world.turn(at_ms)
    assert len(world.posted) == 8
    (fate,) = world.fates
    assert (fate.report.state, fate.report.ways[0].text) == ("failed", "HTTP status 503")
    assert [one.level for one in world.notes] == ["warning"]


def test_dns_that_does_not_answer(world: World) -> None:
    """It cannot be known whether there is a record: it is asked again."""
    world.records["_smtp._tls.there.test"] = DnsTemporary("SERVFAIL")
    world.turn(HOUR)
    world.turn(4 * HOUR)
    world.records["_smtp._tls.there.test"] = record(MAIL)
    world.turn(4 * HOUR + 60_000)
    assert world.mail() == []
    world.turn(4 * HOUR + 900_000)
    assert len(world.mail()) == 1


def test_several_places(world: World) -> None:
    """Each gets it; mail that is on its way is not sent again when HTTPS is tried again."""
    world.records["_smtp._tls.there.test"] = record(MAIL, HTTPS, "mailto:other@there.test")
    world.answers = [NotTaken("HTTP status 500")]
    world.turn(HOUR)
    world.turn(4 * HOUR)
    world.turn(5 * HOUR)
    assert len(world.mail()) == 1 and len(world.posted) == 2
    assert world.rows("SELECT count(*) FROM recipients") == [(2,)]
    (fate,) = world.fates
    assert fate.report.state == "sent"
    assert [way.state for way in fate.report.ways] == ["sent"] * 3


def test_without_a_key_no_mail(world: World) -> None:
    """RFC 8460 §3: reports without a signature are ignored, so none is sent; the trace says why."""
    world.signer.rules = Rules(Keyring([]))
    world.records["_smtp._tls.there.test"] = record(MAIL)
    world.turn(HOUR)
    world.turn(4 * HOUR)
    assert world.mail() == []
    (fate,) = world.fates
    assert fate.report.state == "failed"
    assert fate.report.ways[0].text == (
        "there is no DKIM key for home.test: mta dkim generate home.test"
    )


def test_a_commit_without_an_answer_sends_no_second_mail(world: World) -> None:
    """The mail is in the queue, we did not hear of it: whoever looks next sees that it is sent."""
    world.records["_smtp._tls.there.test"] = record(MAIL)
    world.turn(HOUR)
    world.store.lose_next = True
    world.turn(4 * HOUR)
    for at_ms in range(4 * HOUR, 8 * HOUR, HOUR // 4):
        world.turn(at_ms)
    assert len(world.mail()) == 1
    assert [one.state for one in (fate.report for fate in world.fates)] == ["sent"]


def test_a_process_that_died_is_followed_by_another(world: World) -> None:
    """Its claim runs out; the other posts the same report under the same id."""
    world.records["_smtp._tls.there.test"] = record(HTTPS)
    world.turn(HOUR)
    world.now_ms = MIDNIGHT + 4 * HOUR
    until_ms = world.now_ms + 600_000
    world.store.write(tls_reports.claim, "dead", world.now_ms, until_ms, 4)
    world.turn(4 * HOUR + 1)
    assert world.posted == []
    world.turn(4 * HOUR + 600_000)
    assert len(world.posted) == 1


def test_a_silent_server_holds_up_only_itself(world: World) -> None:
    """Attack: domains whose servers never answer; the reports of others go out all the same."""
    world.count(replace(BAD, domain="slow.test"), 1)
    world.records["_smtp._tls.slow.test"] = record("https://slow.test/")
    world.records["_smtp._tls.there.test"] = record(MAIL)
    world.turn(HOUR)
    waiting: Deferred[str] = Deferred()

    async def silent(url: str, body: bytes) -> str:
        return await waiting

    world.reporter._post = silent
    world.now_ms = MIDNIGHT + 4 * HOUR
    turn = world.reporter.turn()
    assert not turn.called and len(world.mail()) == 1
    waiting.errback(NotTaken("no answer within 30 s"))
    assert turn.called
    states = {fate.report.domain: fate.report.state for fate in world.fates}
    assert states == {"slow.test": "due", "there.test": "sent"}


def test_reports_of_a_day_are_spread(world: World) -> None:
    """§4.1: not all of them at once, but over the hours that the settings say."""
    for number in range(450):
        world.count(replace(BAD, domain=f"d{number:03}.test"), 1)
    moments = iter(number / 451 for number in range(10_000))
    world.reporter._random = lambda: next(moments)
    world.turn(130_000)
    due = [fate.report.next_ms - MIDNIGHT for fate in world.fates]
    assert len(due) == 451
    assert min(due) >= HOUR and max(due) <= 5 * HOUR and max(due) - min(due) > 1.5 * HOUR
    assert len({fate.report.report_id for fate in world.fates}) == 451


def test_a_domain_that_is_none(world: World) -> None:
    """Attack: what is no domain name never gets into a question, a file name or a header."""
    evil = "there.test\r\nbcc: x@y.test"
    world.count(replace(BAD, domain=evil), 1)
    world.records[f"_smtp._tls.{evil}"] = record(MAIL)
    world.turn(HOUR)
    world.turn(6 * HOUR)
    assert world.asked == ["_smtp._tls.there.test TXT"]
    assert world.mail() == []


def test_it_looks_by_itself_and_stops(world: World) -> None:
    """Soon after the start, then again and again; after the end nothing is looked for."""
    world.reporter.start()
    world.now_ms = MIDNIGHT + 5 * HOUR
    world.clock.advance(FIRST_S)
    world.clock.advance(EVERY_S)
    assert len(world.fates) == 1
    world.reporter.stop()
    assert not world.clock.getDelayedCalls()
