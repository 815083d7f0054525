"""The tables of sending: deliveries, retries, the queue, reports."""

from collections.abc import Iterator, Sequence
from typing import Literal

from pydantic import Field, StrictFloat, StrictInt

from mta.config.fields import setting
from mta.config.file_values import ProvidersPath
from mta.config.section import Conflict, Section
from mta.config.units import parse_duration as _d
from mta.config.units import parse_size as _s
from mta.config.values import (
    Address,
    Duration,
    DurationOrNever,
    FullName,
    Name,
    Size,
    SourceAddress,
)

SOURCE = (
    "Addresses of this host that mail goes out from.  Of several of a family each message has one,"
    " at every attempt the same.  With addresses of one family only, that family alone is used,"
    " unless families says otherwise."
)


class Delivery(Section):
    """Sending."""

    source: tuple[SourceAddress, ...] = Field(
        (),
        description=f"{SOURCE}  None: the system chooses.",
        examples=[["192.0.2.5", "2001:db8::5"]],
    )
    ehlo: FullName | None = Field(
        None,
        description="The name in EHLO; it should be the one that the source addresses have in DNS."
        "  Default: host_name.",
        examples=["out1.example.org"],
    )
    prefer: Literal["ipv6", "ipv4", "any"] = Field(
        "ipv6",
        description="Which of a host's addresses is tried first; the families come by turns then."
        "  any: each for half of the messages.",
    )
    families: tuple[Literal["ipv4", "ipv6"], ...] = Field(
        (),
        description="Which are used at all.  Default: both, or those of source.",
        examples=[["ipv4", "ipv6"]],
    )
    shaping_file: ProvidersPath = Field(
        "shipped",
        description='Limits of well-known providers: those "shipped" with the program, "none", or a'
        " file of [[shaping]] tables.",
    )
    max_hosts: StrictInt = setting(
        "How many mail exchangers of a domain are tried in one attempt.", 5, ge=1
    )
    max_addresses: StrictInt = setting("How many addresses of one host are tried.", 4, ge=1)
    max_sessions: StrictInt = setting(
        "How many hosts may answer about the message itself in one attempt.", 2, ge=1
    )
    idle: Duration = setting("How long a connection waits for more mail.", _d("5s"))
    idle_connections: StrictInt = setting("How many connections wait at most.", 100, ge=0)
    messages_per_connection: StrictInt = setting(
        "After so many messages a connection is closed.", 100, ge=1
    )
    recipients_per_transaction: StrictInt = setting(
        "More recipients of one message at one destination go in several transactions"
        " (RFC 5321 §4.5.3.1.8: any server must take 100).",
        100,
        ge=1,
    )

    def conflicts(self) -> Iterator[Conflict]:
        """Yield what no address could be dialled with."""
        yield from family_conflicts(self.source, self.families, self.prefer)


def family_conflicts(
    source: Sequence[str], families: Sequence[str], prefer: str | None
) -> Iterator[Conflict]:
    """Yield source addresses, or a preference, of a family that is not used."""
    if not families:
        return
    for number, address in enumerate(source):
        if ("ipv6" if ":" in address else "ipv4") not in families:
            yield Conflict(("source", number), "is of a family that is not used", ("families",))
    if prefer == "ipv4" and "ipv4" not in families:
        yield Conflict(("prefer",), '"ipv4" is a family that is not used', ("families",))


class Retry(Section):
    """What happens to mail that could not be delivered yet."""

    steps: tuple[Duration, ...] = Field(
        tuple(map(_d, ("5m", "15m", "30m", "1h", "2h", "4h"))),
        min_length=1,
        description="Waiting times between attempts; the last one repeats.",
    )
    jitter: StrictFloat = setting(
        "Each waiting time is made longer or shorter by up to this fraction, so that what failed"
        " together is not tried together.",
        0.2,
        ge=0,
        lt=1,
    )
    expiry: Duration = setting(
        "How long after its arrival mail is given up and its sender told (RFC 5321 §4.5.4.1: four"
        " to five days).",
        _d("5d"),
    )
    delay_warning: DurationOrNever = Field(
        _d("4h"),
        description='When the sender is told that mail is late; "never" for not at all.',
    )

    def conflicts(self) -> Iterator[Conflict]:
        """Yield times that contradict each other."""
        if self.delay_warning is not None and self.delay_warning >= self.expiry:
            yield Conflict(
                ("delay_warning",),
                'must be shorter than expiry, or "never"',
                ("expiry",),
            )
        if self.steps[0] >= self.expiry:
            yield Conflict(
                ("steps", 0), "is not shorter than expiry: nothing would be retried", ("expiry",)
            )


class Queue(Section):
    """How hard to work."""

    node: Name | None = Field(
        None,
        description="Name of this process among those that share the spool.  No two may run under"
        " one name.  Default: host_name.",
        examples=["relay-1"],
    )
    concurrency: StrictInt = setting(
        "Deliveries at the same time to one site, at most: all domains with the same mail"
        " exchangers, or one smarthost.",
        20,
        ge=1,
    )
    initial_concurrency: StrictInt = setting(
        "Deliveries at the same time to a site nothing is known about; each success allows one"
        " more, each fault of the site's halves it.",
        5,
        ge=1,
    )
    total_concurrency: StrictInt = setting(
        "Deliveries at the same time in all; each is a connection.", 200, ge=1
    )
    active_recipients: StrictInt = setting(
        "How many recipients of the queue are in memory at most.", 20_000, ge=1
    )
    active_recipients_per_site: StrictInt = setting(
        "How many of them one site may have.", 5_000, ge=1
    )
    active_memory: Size = setting("Memory for their messages' content.", _s("16MiB"))
    down_after: StrictInt = setting(
        "After so many faults of a site in a row it is left alone for a while.", 5, ge=1
    )
    down_min: Duration = setting("The first such while; it doubles each time.", _d("1m"))
    down_max: Duration = setting("The longest such while.", _d("15m"))
    attempt_limit: Duration = setting("An attempt that takes longer is cut off.", _d("4h"))
    lease: Duration = setting(
        "A process that has not been heard of for so long has lost its mail to the others.",
        _d("3m"),
    )

    def conflicts(self) -> Iterator[Conflict]:
        """Yield bounds that contradict each other."""
        for less, more in (
            ("initial_concurrency", "concurrency"),
            ("concurrency", "total_concurrency"),
            ("active_recipients_per_site", "active_recipients"),
            ("down_min", "down_max"),
        ):
            if getattr(self, less) > getattr(self, more):
                yield Conflict((less,), f"must not be more than {more}", (more,))
        if self.lease < _d("10s"):
            yield Conflict(("lease",), 'must be at least "10s": it is renewed at a third of it')


class Reports(Section):
    """What senders, and the postmaster, are told."""

    postmaster: Address = Field(
        "",
        description="Address that copies of reports go to, and mail for postmaster at this host.",
        examples=["postmaster@example.org"],
    )
    postmaster_copies: tuple[Literal["failure", "delay", "double"], ...] = Field(
        (),
        description="Which reports the postmaster gets a copy of; double: those that could not be"
        " sent to anybody.",
        examples=[["double"]],
    )
    return_size: Size = setting(
        "Reports carry the whole message up to this size, of larger ones the header.", 0
    )
    return_full_size: Size = setting(
        "The same where the sender asks for the whole message (RET=FULL, RFC 3461 §4.3).",
        _s("1MiB"),
    )

    def conflicts(self) -> Iterator[Conflict]:
        """Yield copies to nobody."""
        if self.postmaster_copies and not self.postmaster:
            yield Conflict(("postmaster_copies",), "needs postmaster, an address", ("postmaster",))
