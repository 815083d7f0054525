"""What is passed on to hosts that have the extensions, and what is done where they lack them."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from mta.mail.envelope import Asked, DeliverBy, Job, Recipient
from mta.mail.outcome import Blame, Verdict

MORE = ("PIPELINING", "SIZE 10000000", "8BITMIME", "ENHANCEDSTATUSCODES")


def asking(job: Job, asked: Asked, *recipients: tuple[str, str]) -> Job:
    """Return ``job`` with what its sender asked for; for each recipient NOTIFY and ORCPT."""
    people = tuple(
        replace(one, notify=said[0], orcpt=said[1]) if said else one
        for one, said in zip(job.recipients, recipients or [()] * 9, strict=False)
    )
    return replace(job, envelope=replace(job.envelope, asked=asked), recipients=people)


def test_dsn_is_passed_on(world: Any, job: Callable[..., Job]) -> None:
    """RFC 3461 §5.2.1: each recipient's own NOTIFY, in one transaction, as it came."""
    host = world.host(keywords=(*MORE, "DSN"))
    sent = asking(
        job("b@there.test", "c@there.test", "d@there.test"),
        Asked("HDRS", "QQ+2B1"),
        ("NEVER", ""),
        ("SUCCESS,DELAY", "rfc822;C+2B@there.test"),
        ("", ""),
    )
    outcomes = world.deliver(sent)
    assert host.connections[0].writes[1] == (
        b"MAIL FROM:<a@here.test> SIZE=39 RET=HDRS ENVID=QQ+2B1\r\n"
        b"RCPT TO:<b@there.test> NOTIFY=NEVER\r\n"
        b"RCPT TO:<c@there.test> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;C+2B@there.test\r\n"
        b"RCPT TO:<d@there.test>\r\n"
        b"DATA\r\n"
    )
    assert all("DSN" in one.peer.extensions for one in outcomes)


def test_dsn_is_not_said_to_who_does_not_know_it(world: Any, job: Callable[..., Job]) -> None:
    """RFC 3461 §5.2.2: no parameter goes to a host that has not announced DSN."""
    host = world.host()
    (outcome,) = world.deliver(asking(job(), Asked("FULL", "x"), ("SUCCESS", "rfc822;x@y")))
    assert host.connections[0].writes[1] == (
        b"MAIL FROM:<a@here.test> SIZE=39\r\nRCPT TO:<b@there.test>\r\nDATA\r\n"
    )
    assert "DSN" not in outcome.peer.extensions


def test_priority_is_passed_on(world: Any, job: Callable[..., Job]) -> None:
    """RFC 6710: as a parameter where it is known; no field in the header then."""
    host = world.host(keywords=(*MORE, "MT-PRIORITY"))
    world.deliver(asking(job(), Asked(priority=-4)))
    assert b" SIZE=39 MT-PRIORITY=-4\r\n" in host.connections[0].writes[1]
    assert host.messages[0].startswith(b"Subject: ")


def test_priority_goes_through_a_tunnel(world: Any, job: Callable[..., Job]) -> None:
    """RFC 6758: as a field on top of the header elsewhere, counted in SIZE."""
    host = world.host()
    world.deliver(asking(job(), Asked(priority=4)))
    line = b"MT-Priority: 4\r\n"
    assert b" SIZE=%d\r\n" % (39 + len(line)) in host.connections[0].writes[1]
    assert host.messages[0].startswith(line + b"Subject: ")


class Stored:
    """A body that is read back chunk by chunk."""

    memory = None
    count = 2

    async def chunk(self, number: int) -> bytes:
        """Give chunk ``number``."""
        return (b"Subject: x\r\n", b"\r\n.text\r\n")[number]


def test_the_tunnel_is_dug_in_long_messages_as_well(world: Any, job: Callable[..., Job]) -> None:
    """The field stands once, before the first chunk."""
    host = world.host()
    world.deliver(asking(job(body=Stored()), Asked(priority=4)))
    assert host.messages == [b"MT-Priority: 4\r\nSubject: x\r\n\r\n.text\r\n"]


def test_deadline_is_passed_on_with_the_time_that_is_left(
    world: Any, job: Callable[..., Job]
) -> None:
    """RFC 2852 §4.1.4: what we have used up is taken off."""
    host = world.host(keywords=(*MORE, "DELIVERBY 30"))
    world.wall_ms = 1_764_028_800_000
    asked = Asked(deliver_by=DeliverBy(1_764_028_860_999, "R", True))
    (outcome,) = world.deliver(asking(job(), asked))
    assert outcome.verdict is Verdict.DELIVERED
    assert b" BY=60;RT\r\n" in host.connections[0].writes[1]


@pytest.mark.parametrize(
    ("keywords", "deadline_ms", "enhanced"),
    [
        ((), 60_000, "5.3.3"),  # it would not return it
        (("DELIVERBY 120",), 60_000, "5.4.7"),  # it cannot be so quick
        (("DELIVERBY",), 0, "5.4.7"),  # the time is over
    ],
)
def test_return_by_never_goes_to_who_cannot_return(
    world: Any,
    job: Callable[..., Job],
    keywords: tuple[str, ...],
    deadline_ms: int,
    enhanced: str,
) -> None:
    """RFC 2852 §4.1.4: mode R is bounced rather than sent without its deadline."""
    host = world.host(keywords=(*MORE, *keywords))
    (outcome,) = world.deliver(asking(job(), Asked(deliver_by=DeliverBy(deadline_ms, "R"))))
    assert (outcome.verdict, outcome.enhanced, outcome.blame) == (
        Verdict.FAILED,
        enhanced,
        Blame.MESSAGE,
    )
    assert host.messages == []


def test_tell_by_goes_to_anybody(world: Any, job: Callable[..., Job]) -> None:
    """RFC 2852 §4.1.4: mode N is delivered all the same, late or not."""
    host = world.host()
    (outcome,) = world.deliver(asking(job(), Asked(deliver_by=DeliverBy(0, "N"))))
    assert outcome.verdict is Verdict.DELIVERED
    assert b"BY=" not in host.connections[0].writes[1]


@pytest.mark.parametrize(
    ("keywords", "mode", "told"),
    [
        (("DSN",), "N", b" NOTIFY=FAILURE,DELAY"),
        (("DSN", "DELIVERBY"), "N", b""),
        (("DSN", "DELIVERBY"), "R", b""),
        ((), "N", b""),
    ],
)
def test_a_hop_without_deliverby_is_asked_for_delays(
    world: Any, job: Callable[..., Job], keywords: tuple[str, ...], mode: str, told: bytes
) -> None:
    """RFC 2852 §4.1.4.2: where it has DSN; mode R and hops that know deadlines are left alone."""
    host = world.host(keywords=(*MORE, *keywords))
    world.wall_ms = 0
    world.deliver(asking(job(), Asked(deliver_by=DeliverBy(60_000, mode))))
    assert b"RCPT TO:<b@there.test>%s\r\n" % told in host.connections[0].writes[1]


def test_orcpt_of_an_alias(world: Any, job: Callable[..., Job]) -> None:
    """RFC 3461 §5.2.1 (d): the address of our RCPT is not the one that the client named."""
    host = world.host(keywords=(*MORE, "DSN"))
    sent = job()
    people = tuple(replace(one, given="staff@ours.test") for one in sent.recipients)
    world.deliver(replace(sent, recipients=people))
    assert (
        b"RCPT TO:<b@there.test> ORCPT=rfc822;staff@ours.test\r\n" in host.connections[0].writes[1]
    )


def test_recipient_defaults() -> None:
    """Who says nothing hears of failure and delay."""
    one = Recipient(0, "b@there.test", "there.test")
    assert [one.wants(word) for word in ("SUCCESS", "FAILURE", "DELAY")] == [False, True, True]
