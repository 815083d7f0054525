"""The tables of bounds: how much and how long."""

from collections.abc import Iterator
from typing import Literal

from pydantic import Field, StrictBool, StrictInt

from mta.config.fields import setting, table
from mta.config.section import Conflict, Section
from mta.config.units import parse_duration as _d
from mta.config.units import parse_size as _s
from mta.config.values import (
    Duration,
    DurationOrNever,
    Size,
)


class Limits(Section):
    """How much a client may take."""

    message_size: Size = setting("Of one message, as announced with SIZE.", _s("50MiB"))
    recipients: StrictInt = setting("Recipients of one message.", 1000, ge=100)
    header_size: Size = setting(
        "Of the header of one message, at most 192KiB; more is refused.", _s("128KiB")
    )
    hops: StrictInt = setting("Received fields in a message; more is a loop.", 100, ge=10)
    connections: StrictInt = setting("Connections of one listener.", 1000, ge=1)
    connections_per_client: StrictInt = setting(
        "Connections of one address at one listener; trusted networks are exempt.", 50, ge=1
    )
    ipv6_prefix: StrictInt = setting(
        "So many leading bits of an IPv6 address are one client wherever clients are counted: a"
        " customer has a whole network of addresses.",
        64,
        ge=32,
        le=128,
    )
    errors: StrictInt = setting(
        "Refused commands since the last accepted message, then the connection is closed.", 20, ge=1
    )
    idle_commands: StrictInt = setting(
        "Commands that lead nowhere (NOOP, RSET, EHLO) since the last accepted message, then the"
        " connection is closed.",
        100,
        ge=1,
    )
    data_rate: Size = setting("Octets a second that an arriving message must keep up.", 500)
    memory: Size = setting(
        "Memory for the content of all messages arriving; beyond it, it goes to the spool sooner.",
        _s("64MiB"),
    )

    def conflicts(self) -> Iterator[Conflict]:
        """Yield bounds that contradict each other, and a size of nothing."""
        if self.connections_per_client > self.connections:
            yield Conflict(
                ("connections_per_client",), "must not be more than connections", ("connections",)
            )
        if self.message_size < 65_536:
            yield Conflict(("message_size",), "must be at least 64KiB (RFC 5321 §4.5.3.1.7)")
        if not _s("8KiB") <= self.header_size <= _s("192KiB"):
            yield Conflict(("header_size",), "must lie between 8KiB and 192KiB")


class Requests(Section):
    """What senders may ask for beside delivery (docs/submission.rst).  Reports they always may."""

    future_release: DurationOrNever = Field(
        _d("30d"),
        description="The longest that mail is held for a client that has logged in"
        ' (FUTURERELEASE, RFC 4865); "never": it is not offered.',
    )
    deliver_by: DurationOrNever = Field(
        _d("1m"),
        description="The shortest time within which mail may be asked to arrive or come back"
        ' (DELIVERBY, RFC 2852); "never": it is not offered.',
    )
    mt_priority: StrictBool = setting("Whether priorities are offered (RFC 6710).", True)
    highest_priority: StrictInt = setting(
        "The highest priority that a client that has logged in may use; others have 0 at most.",
        9,
        ge=0,
        le=9,
    )

    def conflicts(self) -> Iterator[Conflict]:
        """Yield times that SMTP cannot say."""
        for key in ("future_release", "deliver_by"):
            time = getattr(self, key)
            if time is not None and not 1 <= time.total_seconds() <= 999_999_999:
                yield Conflict((key,), 'must be "1s" at least and not above 30 years')


class Submission(Section):
    """What becomes of new mail that is not as it should be (docs/submission.rst)."""

    missing_from: Literal["add", "refuse"] = Field(
        "add", description="A header without From: it is added, from the envelope sender; or 554."
    )
    repeated_fields: Literal["refuse", "accept"] = Field(
        "refuse",
        description="Fields that a message has only once, such as two From: 554; or it goes as it"
        " came, unsigned if it is From.",
    )
    long_lines: Literal["accept", "refuse"] = Field(
        "accept",
        description="Lines above 998 octets: it goes as it came, and some hosts will return it;"
        " or 554.",
    )
    unqualified: Literal["refuse", "accept"] = Field(
        "refuse",
        description="Envelope addresses such as ann@host, in a domain of one label that is not one"
        " of ours: 554 (RFC 6409 §4.2); or they are looked up as they are.",
    )


class Inbound(Section):
    """Times that a client may take."""

    proxy: Duration = setting("A PROXY header, from the connection to its end.", _d("5s"))
    handshake: Duration = setting("TLS, from its first octet to its end.", _d("30s"))
    command: Duration = setting("One command, whole (RFC 5321 §4.5.3.2.7).", _d("5m"))
    data: Duration = setting("Without an octet while a message arrives.", _d("5m"))


class Outbound(Section):
    """Times that another server may take, named as in RFC 5321 §4.5.3.2."""

    connect: Duration = setting("TCP, to one address.", _d("30s"))
    greeting: Duration = setting("Initial 220 message (§4.5.3.2.1).", _d("5m"))
    ehlo: Duration = setting("EHLO, STARTTLS, TLS, AUTH, RSET: each of them.", _d("5m"))
    mail: Duration = setting("MAIL command (§4.5.3.2.2).", _d("5m"))
    rcpt: Duration = setting("RCPT command (§4.5.3.2.3).", _d("5m"))
    data_initiation: Duration = setting("DATA command (§4.5.3.2.4).", _d("2m"))
    data_block: Duration = setting("Until it takes more of a message (§4.5.3.2.5).", _d("3m"))
    data_termination: Duration = setting(
        "The answer to the final dot (§4.5.3.2.6).  Shorter than 10 minutes means duplicates.",
        _d("10m"),
    )
    quit: Duration = setting("The farewell, which nothing depends on.", _d("5s"))
    total: Duration = setting(
        "One session, from the first address to the end of one message.", _d("1h")
    )


class Timeouts(Section):
    """Time-outs of SMTP, step by step."""

    inbound: Inbound = table()
    outbound: Outbound = table()
