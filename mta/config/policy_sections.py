"""The tables of the policy: who may use which sender, how much, what is held, to whom.

``docs/policy.rst`` says how they work together.
"""

from collections.abc import Iterator
from typing import Literal

from pydantic import Field, StrictBool, StrictFloat, StrictInt

from mta.config.fields import setting
from mta.config.section import Conflict, Section
from mta.config.units import parse_duration as _d
from mta.config.values import (
    AddressPattern,
    DomainPattern,
    Duration,
    Name,
    NetworkValue,
    OwnedPattern,
    Pattern,
    Size,
)


class Sender(Section):
    """Which addresses a login may use; the first that is about the client decides.

    Mail from outside is excepted, unless a rule names its clients or listeners.
    """

    name: Name = Field(description="What the log and the trace call it.", examples=["people"])
    logins: tuple[Pattern, ...] = Field(
        (), description='Logins it is about, "*" is any text: "app-*".  None: everybody.'
    )
    clients: tuple[NetworkValue, ...] = Field((), description="Networks it is about.  None: all.")
    listeners: tuple[Name, ...] = Field((), description="Listeners it is about.  None: all.")
    addresses: tuple[OwnedPattern, ...] = Field(
        (),
        description='What they may use: "ann@example.org", "app-*@example.org", "example.org" (any'
        ' address there), ".example.org" (below it), "{login}" (the login is the address),'
        ' "{user}@example.org" (the login, or what stands before its @).  None: nothing.',
        examples=[["{login}"]],
    )
    plus: StrictBool = Field(
        False, description='Whether "ann+anything@example.org" is permitted where "ann@..." is.'
    )
    header_from: StrictBool = Field(
        True, description="Whether From: in the header is checked as well as the envelope."
    )
    null_sender: StrictBool = Field(
        True, description="Whether MAIL FROM:<> is permitted (receipts and reports are sent so)."
    )
    rewrite: OwnedPattern | None = Field(
        None,
        description="Address that is put in the place of a wrong one, and the trace says so; the"
        " old From: stays as X-Original-From:.  None: refuse with 550.",
        examples=["{login}"],
    )

    def conflicts(self) -> Iterator[Conflict]:
        """Yield a replacement that is no address."""
        wrong = self.rewrite is not None and "*" in self.rewrite
        if wrong or (self.rewrite or "").startswith("@"):
            yield Conflict(("rewrite",), "must be one address, not a pattern")


class Limit(Section):
    """How much; for each "per" the first that is about the client decides."""

    name: Name = Field(description="What the log calls it.", examples=["logins"])
    per: Literal["login", "client", "network", "listener"] = Field(
        "login",
        description="What is counted together: a login; an IPv4 address or IPv6 /64"
        " (limits.ipv6_prefix); an IPv4 /24"
        " or IPv6 /48; a listener.",
    )
    logins: tuple[Pattern, ...] = Field((), description="Logins it is about.  None: everybody.")
    clients: tuple[NetworkValue, ...] = Field((), description="Networks it is about.  None: all.")
    listeners: tuple[Name, ...] = Field((), description="Listeners it is about.  None: all.")
    action: Literal["defer", "refuse", "hold"] = Field(
        "defer",
        description="At the limit: 4xx, 5xx, or accept and hold the message (messages, recipients"
        " and octets only).",
    )
    sessions: StrictInt | None = Field(None, ge=0, description="At the same time.")
    connections_per_hour: StrictInt | None = Field(None, ge=0, description="Connections.")
    connections_per_day: StrictInt | None = Field(None, ge=0, description="Connections.")
    errors_per_hour: StrictInt | None = Field(
        None, ge=1, description="Refused commands; then connections and log-ins are turned away."
    )
    errors_per_day: StrictInt | None = Field(None, ge=1, description="Likewise.")
    messages_per_hour: StrictInt | None = Field(None, ge=0, description="Messages.")
    messages_per_day: StrictInt | None = Field(None, ge=0, description="Messages.")
    recipients_per_hour: StrictInt | None = Field(None, ge=0, description="Recipients.")
    recipients_per_day: StrictInt | None = Field(None, ge=0, description="Recipients.")
    octets_per_hour: Size | None = Field(None, description="Size of messages.")
    octets_per_day: Size | None = Field(None, description="Size of messages.")

    def conflicts(self) -> Iterator[Conflict]:
        """Yield a limit of nothing, and one that cannot hold."""
        given = [name for name in AMOUNTS if getattr(self, name) is not None]
        if not given:
            yield Conflict(("name",), f"this limit needs one of {', '.join(AMOUNTS)}", AMOUNTS)
        for name in given:
            if self.action == "hold" and name.startswith(("sessions", "connections", "errors")):
                yield Conflict((name,), 'cannot have action = "hold"', ("action",))


AMOUNTS = tuple(
    name
    for name in Limit.model_fields
    if name == "sessions" or name.endswith(("_per_hour", "_per_day"))
)


class Hold(Section):
    """What is accepted and held; the first that matches gives the reason."""

    name: Name = Field(description="What the log and the trace call it.", examples=["huge"])
    logins: tuple[Pattern, ...] = Field((), description="Logins it is about.  None: everybody.")
    clients: tuple[NetworkValue, ...] = Field((), description="Networks it is about.  None: all.")
    listeners: tuple[Name, ...] = Field((), description="Listeners it is about.  None: all.")
    senders: tuple[AddressPattern, ...] = Field(
        (), description='Envelope senders: "ann@example.org", "example.org", "<>".  None: all.'
    )
    recipient_domains: tuple[DomainPattern, ...] = Field(
        (), description="Domains; one such recipient and the message is held whole.  None: all."
    )
    min_size: Size = setting("Only messages of this size or more.", 0)


class Recipients(Section):
    """To whom mail may go.  Whom no mail goes to is also in the list of "mta suppress"."""

    allowed: tuple[AddressPattern, ...] = Field(
        (),
        description='If there are any, mail goes nowhere else: "example.org", ".example.org",'
        ' "ann@example.net".',
        examples=[["example.org"]],
    )
    forbidden: tuple[AddressPattern, ...] = Field(
        (), description="Where no mail goes.", examples=[["example.com"]]
    )
    refuse_null_mx: StrictBool = Field(
        True,
        description="Refuse recipients at once, with 556, whose domain says that it takes no mail"
        " (RFC 7505); otherwise the sender gets a report.  Only where mail goes to MX hosts; DNS"
        " is asked before RCPT is answered, and what it has not said in two seconds is accepted.",
    )
    refuse_unknown_domains: StrictBool = Field(
        False,
        description="Refuse recipients at once whose domain does not exist.  Only where mail goes"
        " to MX hosts; while DNS does not answer, everything is accepted.",
    )


class Guard(Section):
    """Against those who guess passwords."""

    enabled: StrictBool = Field(True, description="Whether failures delay and block.")
    window: Duration = setting("Failures count, and a block lasts, about so long.", _d("15m"))
    free: StrictInt = setting("Failures without a delay; then 1, 2, 4, ... seconds.", 3, ge=0)
    longest_delay: Duration = setting("Delays grow no further.", _d("8s"))
    per_address: StrictInt = setting(
        "Failures of one address (IPv6: limits.ipv6_prefix) until it is blocked, except for logins"
        " that have been used from there before.",
        30,
        ge=1,
    )
    per_login: StrictInt = setting(
        "Failures of one login from one address until it is blocked there, and only there.",
        10,
        ge=1,
    )


class Brake(Section):
    """The compromise brake: holds the mail of a login that sends far more than it ever does."""

    enabled: StrictBool = Field(False, description="Whether it works.")
    factor: StrictFloat = setting(
        "It trips at so many times the usual number of recipients an hour.", 5.0, gt=1
    )
    floor: StrictInt = setting(
        "Recipients an hour that are usual for everybody, however little they send.", 20, ge=1
    )
    learning: Duration = setting("A login that is newer is not braked.", _d("3d"))
