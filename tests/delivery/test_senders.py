"""Which sender a host is told: rewriting on the way out, SRS, VERP, owners of lists."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mta.delivery.routes import Discard, Mx, Route
from mta.delivery.senders import outgoing
from mta.mail.envelope import Asked, Job, Recipient, Role
from mta.mail.outcome import Verdict
from mta.mail.srs import Srs
from mta.policy.addresses import Addresses
from mta.policy.aliases import LocalAddresses, LocalDomain
from mta.policy.matching import AddressPattern
from mta.policy.rewriting import Rewrites

SRS = Srs("ours.test", (b"secret",))
OURS = Addresses(LocalAddresses({"ours.test": LocalDomain("ours.test")}), srs=SRS)
TABLE = Rewrites.of([(".internal.test", "@ours.test"), ("a@here.test", "b@ours.test")])


def roles(job: Job, **fields: Any) -> Job:
    """Return ``job`` with fields of its recipients set."""
    return replace(job, recipients=tuple(replace(one, **fields) for one in job.recipients))


def said(host: Any) -> list[bytes]:
    """The MAIL and RCPT lines that a host has heard, without parameters."""
    lines = b"".join(write for one in host.connections for write in one.writes).split(b"\r\n")
    return [line.partition(b" SIZE")[0] for line in lines if line[:4] in (b"MAIL", b"RCPT")]


def test_srs_for_what_comes_from_outside_and_goes_outside(
    world: Any, job: Callable[..., Job]
) -> None:
    """The envelope in the spool stays as it came; the outcome says what the host was told."""
    world.use(addresses=OURS)
    host = world.host()
    (outcome,) = world.deliver(roles(job(), role=Role.FORWARDED, given="x@ours.test"))
    signed = said(host)[0].decode().removeprefix("MAIL FROM:<").removesuffix(">")
    assert signed.startswith("SRS0=")
    assert outcome.sender == signed
    day = world.reactor.seconds() // 86400
    assert SRS.reverse(signed, int(day)) == "a@here.test"


def test_srs_is_for_nothing_else(world: Any, job: Callable[..., Job]) -> None:
    """Not for the null sender, not for senders of ours, not without the role."""
    world.use(addresses=OURS)
    host = world.host()
    world.deliver(roles(job(sender=""), role=Role.FORWARDED))
    world.deliver(roles(job(sender="a@ours.test"), role=Role.FORWARDED))
    (outcome,) = world.deliver(job())
    assert said(host)[::2] == [
        b"MAIL FROM:<>",
        b"MAIL FROM:<a@ours.test>",
        b"MAIL FROM:<a@here.test>",
    ]
    assert outcome.sender == ""


def test_recipients_that_are_told_different_senders_have_transactions_of_their_own(
    world: Any, job: Callable[..., Job]
) -> None:
    """The others keep theirs together."""
    world.use(addresses=OURS)
    host = world.host()
    sent = job("b@there.test", "c@there.test", "d@there.test")
    people = list(sent.recipients)
    people[1] = replace(people[1], sender="owner-list@ours.test")
    outcomes = world.deliver(replace(sent, recipients=tuple(people)))
    assert said(host) == [
        b"MAIL FROM:<a@here.test>",
        b"RCPT TO:<b@there.test>",
        b"RCPT TO:<d@there.test>",
        b"MAIL FROM:<owner-list@ours.test>",
        b"RCPT TO:<c@there.test>",
    ]
    assert [one.sender for one in outcomes] == ["", "owner-list@ours.test", ""]
    assert len(host.connections) == 1


def test_what_the_author_asked_for_does_not_go_to_the_members_of_a_list(
    world: Any, job: Callable[..., Job]
) -> None:
    """RFC 3461 §5.2.7.1 (b): RET and ENVID are the author's, the new message is the owner's."""
    host = world.host(keywords=("DSN", "SIZE 0"))
    sent = job("b@there.test", "c@there.test")
    people = (sent.recipients[0], replace(sent.recipients[1], sender="owner-list@ours.test"))
    asked = replace(sent.envelope, asked=Asked("HDRS", "QQ314159"))
    world.deliver(replace(sent, envelope=asked, recipients=people))
    lines = b"".join(write for one in host.connections for write in one.writes).split(b"\r\n")
    assert [line.partition(b" SIZE=39")[2] for line in lines if line.startswith(b"MAIL")] == [
        b" RET=HDRS ENVID=QQ314159",
        b"",
    ]


def test_verp(world: Any, job: Callable[..., Job]) -> None:
    """Each recipient is told by its own sender; it is the address that was named first."""
    world.use(Route("news", Mx(), verp="+="))
    host = world.host()
    sent = job("b@there.test", "c@there.test", sender="news@ours.test")
    people = (sent.recipients[0], replace(sent.recipients[1], given="list@ours.test"))
    world.deliver(replace(sent, recipients=people))
    assert said(host)[::2] == [
        b"MAIL FROM:<news+b=there.test@ours.test>",
        b"MAIL FROM:<news+list=ours.test@ours.test>",
    ]


def test_verp_is_not_for_reports_nor_for_other_senders(world: Any, job: Callable[..., Job]) -> None:
    """A null sender stays null."""
    world.use(Route("news", Mx(), verp="+=", verp_senders=(AddressPattern.of("n@ours.test"),)))
    host = world.host()
    world.deliver(job(sender=""))
    world.deliver(job(sender="m@ours.test"))
    assert said(host)[::2] == [b"MAIL FROM:<>", b"MAIL FROM:<m@ours.test>"]


def test_a_route_rewrites_senders(world: Any, job: Callable[..., Job]) -> None:
    """By domain and by address; on this route only."""
    world.use(Route("out", Mx(), recipient_domains=("there.test",), rewrite_sender=TABLE))
    host = world.host()
    world.deliver(job(sender="root@db.internal.test"))
    world.deliver(job())
    assert said(host)[::2] == [b"MAIL FROM:<root@ours.test>", b"MAIL FROM:<b@ours.test>"]


def test_an_alias_is_reported_and_not_delivered(world: Any, job: Callable[..., Job]) -> None:
    """Nobody is dialled for it, whatever the routes say."""
    world.use(Route("all", Discard()))
    sent = job("list@ours.test")
    people = (replace(sent.recipients[0], role=Role.EXPANDED, domain=""),)
    (outcome,) = world.deliver(replace(sent, recipients=people))
    assert (outcome.verdict, outcome.enhanced, outcome.command, outcome.peer) == (
        Verdict.DELIVERED,
        "2.1.5",
        "alias",
        None,
    )


def test_what_was_delivered_before_a_stop_is_told(world: Any, job: Callable[..., Job]) -> None:
    """Cut off between two transactions: the first recipient must not get it again."""
    world.use(Route("news", Mx(), verp="+="))
    world.host(MAIL=lambda line: b"" if b"+c=" in line else b"250 2.1.0 Ok\r\n")
    sent = job("b@there.test", "c@there.test", sender="news@ours.test")
    results = world.start(sent)
    assert not results
    world.deferred.cancel()
    world.reactor.settle()
    (outcomes,) = results
    assert [(one.recipient, one.verdict) for one in outcomes] == [
        (0, Verdict.DELIVERED),
        (1, Verdict.DEFERRED),
    ]


@given(
    st.text(max_size=20),
    st.text(max_size=20),
    st.sampled_from(list(Role)),
    st.sampled_from(["", "owner@ours.test"]),
    st.sampled_from(["", "+="]),
)
def test_nothing_is_raised_and_null_stays_null(
    sender: str, address: str, role: Role, owner: str, verp: str
) -> None:
    """Any text."""
    recipient = Recipient(0, address, "x", role=role, sender=owner)
    route = Route("r", Mx(), rewrite_sender=TABLE, verp=verp)
    assert bool(outgoing(sender, recipient, route, OURS, 10**12)) is bool(sender)
