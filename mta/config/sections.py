"""The tables of the configuration file.  Their descriptions are its documentation.

A description is written for the operator: it appears in ``etc/mta.toml``, in the JSON Schema
and in ``docs/``.  Defaults are those of the packages that use them; a test compares the two.
"""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Literal, Self

from pydantic import Field, StrictBool, StrictFloat, StrictInt, ValidationInfo

from mta.config.secret import Secret
from mta.config.section import Conflict, Section
from mta.config.spool_url import Url, with_password
from mta.config.units import parse_duration, parse_size
from mta.config.values import (
    Address,
    Authorities,
    DnsServer,
    Duration,
    DurationOrNever,
    Endpoint,
    FilePath,
    LogTarget,
    Name,
    NetworkValue,
    SecretCredential,
    SecretFile,
    Size,
)


def setting(description: str, default: timedelta | int | float | str, **bounds: Any) -> Any:
    """Return a field with a default; a duration or a size may be given as it is written."""
    return Field(default, description=description, **bounds)


def table() -> Any:
    """Return a field that is a table of defaults where the file does not have it."""
    return Field(default_factory=dict)


_d = parse_duration
_s = parse_size


class Spool(Section):
    """Where mail is kept from the 250 until it has been delivered."""

    url: Url = Field(
        "sqlite:///mta.sqlite",
        repr=False,
        description="Database of the queue, as SQLAlchemy writes it: sqlite:///FILE (a relative"
        " FILE lies beside this file; sqlite:////var/lib/mta/mta.sqlite is absolute) or"
        " postgresql://USER@HOST/DATABASE where several processes or hosts share one queue.",
    )
    password_file: SecretFile | None = Field(
        None,
        description="File with the database password, alone on its line.",
        examples=["/etc/mta/database-password"],
    )
    password_credential: SecretCredential | None = Field(
        None,
        description="Or: name of the file in $CREDENTIALS_DIRECTORY (systemd's LoadCredential=)"
        " that has it.",
        examples=["database-password"],
    )
    retention: Duration = setting(
        "How long finished mail can be traced.  Its content goes as soon as it is finished.",
        _d("7d"),
    )
    orphan_age: Duration = setting(
        "Content without a message, left over by a connection that died in the middle, is removed"
        " when it is so old.",
        _d("1d"),
    )

    def conflicts(self) -> Iterator[Conflict]:
        """Yield what is wrong with the password."""
        yield from one_secret(self, "password")
        if self.password is not None and self.url.startswith("sqlite"):
            yield Conflict((set_one(self, "password"),), "SQLite has no password", ("url",))

    def completed(self, info: ValidationInfo) -> Self:
        """Return the section with the password in the URL."""
        if self.password is None or not self.url.startswith("postgresql"):
            return self
        try:
            password = self.password.reveal()
        except ValueError as error:
            raise self.fault((set_one(self, "password"),), str(error)) from None
        return self.model_copy(update={"url": with_password(self.url, password)})

    @property
    def password(self) -> Secret | None:
        """Where the password is."""
        return self.password_file or self.password_credential


class Listener(Section):
    """A place that clients connect to."""

    name: Name = Field(description="What the log and the trace call it.", examples=["submissions"])
    endpoint: Endpoint = Field(
        description="Where: a port (all IPv4 addresses), 127.0.0.1:465, [::1]:465, [::]:465 (all"
        " IPv6 and, on Linux, all IPv4 addresses), or an endpoint string of Twisted's, such as"
        " systemd:domain=INET6:name=smtps.",
        examples=["465"],
    )
    tls: Literal["implicit", "starttls", "none"] = Field(
        "implicit",
        description="implicit: from the first octet (port 465); starttls: offered (587, 25); none.",
    )
    auth: Literal["required", "optional", "none"] = Field(
        "required",
        description="required: whoever has not logged in may not send, trusted networks included;"
        " optional: who comes from a trusted network need not log in; none: only they may send.",
    )
    submission: StrictBool | None = Field(
        None,
        description="Whether all mail here is new, so that missing Date and Message-ID fields are"
        " added whoever sends it; otherwise they are added for who has logged in."
        "  Default: true where auth is required.",
        examples=[True],
    )
    trusted_networks: tuple[NetworkValue, ...] | None = Field(
        None,
        description="For this listener, instead of those at the top.",
        examples=[["192.0.2.0/24"]],
    )

    def conflicts(self) -> Iterator[Conflict]:
        """Yield AUTH in the clear."""
        if self.tls == "none" and self.auth != "none":
            yield Conflict(
                ("auth",),
                f'"{self.auth}" needs tls = "implicit" or "starttls":'
                " a password is never asked for in the clear",
                ("tls",),
            )


class Certificate(Section):
    """A certificate for TLS on listeners, chosen by the name that the client asks for (SNI)."""

    certificate: FilePath = Field(
        description="PEM file: certificate, then its intermediates.",
        examples=["certificate.pem"],
    )
    key: FilePath = Field(description="PEM file: its private key.", examples=["key.pem"])


class Dns(Section):
    """Looking up where mail goes."""

    servers: tuple[DnsServer, ...] = Field(
        (),
        description="Name servers, asked in this order: address, or address and port.  None:"
        " those of /etc/resolv.conf.",
        examples=[["127.0.0.1:53", "[::1]:5353"]],
    )
    timeout: Duration = setting("How long one server may take to answer.", _d("5s"))
    attempts: StrictInt = setting("How often to ask before giving up for now.", 3, ge=1, le=20)
    validating: StrictBool = Field(
        False,
        description="Whether these servers check DNSSEC and the way to them is safe, as on the"
        " loopback interface: only then is it believed when they say that an answer is authentic.",
    )
    cache_size: StrictInt = setting("How many answers are remembered.", 10_000, ge=0)


class Tls(Section):
    """TLS, in and out."""

    trust: Authorities = Field(
        "system",
        description='Certificate authorities that other hosts are verified with: "system", or a'
        " PEM file.",
    )
    minimum: Literal["TLSv1.2", "TLSv1.3"] = Field(
        "TLSv1.2", description="The oldest version that listeners speak."
    )


class Delivery(Section):
    """Sending."""

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
        "Deliveries at the same time to one destination, at most.", 20, ge=1
    )
    initial_concurrency: StrictInt = setting(
        "Deliveries at the same time to a destination nothing is known about; each success allows"
        " one more, each fault of the destination's halves it.",
        5,
        ge=1,
    )
    total_concurrency: StrictInt = setting(
        "Deliveries at the same time in all; each is a connection.", 200, ge=1
    )
    active_recipients: StrictInt = setting(
        "How many recipients of the queue are in memory at most.", 20_000, ge=1
    )
    active_recipients_per_destination: StrictInt = setting(
        "How many of them one destination may have.", 5_000, ge=1
    )
    active_memory: Size = setting("Memory for their messages' content.", _s("16MiB"))
    down_after: StrictInt = setting(
        "After so many faults of a destination in a row it is left alone for a while.", 5, ge=1
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
            ("active_recipients_per_destination", "active_recipients"),
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

    def conflicts(self) -> Iterator[Conflict]:
        """Yield copies to nobody."""
        if self.postmaster_copies and not self.postmaster:
            yield Conflict(("postmaster_copies",), "needs postmaster, an address", ("postmaster",))


class Limits(Section):
    """How much a client may take."""

    message_size: Size = setting("Of one message, as announced with SIZE.", _s("50MiB"))
    recipients: StrictInt = setting("Recipients of one message.", 1000, ge=100)
    hops: StrictInt = setting("Received fields in a message; more is a loop.", 100, ge=10)
    connections: StrictInt = setting("Connections of one listener.", 1000, ge=1)
    connections_per_client: StrictInt = setting(
        "Connections of one address at one listener; trusted networks are exempt.", 50, ge=1
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


class Inbound(Section):
    """Times that a client may take."""

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


class Log(Section):
    """One event, two renderings."""

    text: LogTarget = Field(
        "stderr",
        description='Lines in Postfix\'s shape: "stderr", "syslog", "none", or a file.  A file that'
        " was renamed (logrotate) is opened anew.",
    )
    json_lines: LogTarget = Field(
        "none",
        description="The same events as JSON, one object a line.",
        examples=["/var/log/mta/mta.jsonl"],
    )

    def conflicts(self) -> Iterator[Conflict]:
        """Yield two renderings in one place."""
        if self.text == self.json_lines != "none":
            yield Conflict(("json_lines",), "must not go where text goes", ("text",))
        if self.json_lines == "syslog":
            yield Conflict(("json_lines",), 'cannot go to syslog: "stderr" or a file')


def set_one(section: Section, stem: str) -> str:
    """Return the key among STEM_file and STEM_credential that is set."""
    return f"{stem}_file" if getattr(section, f"{stem}_file") is not None else f"{stem}_credential"


def one_secret(section: Section, stem: str) -> Iterator[Conflict]:
    """Yield a conflict where one secret has two places."""
    file, credential = f"{stem}_file", f"{stem}_credential"
    if getattr(section, file) is not None and getattr(section, credential) is not None:
        yield Conflict((credential,), f"and {file} exclude each other", (file,))
