"""The tables of what there is: spool, listeners, certificates, name servers, logs.

Their descriptions are the documentation of the configuration, written for the operator: they
appear in ``etc/mta.toml``, in the JSON Schema and in ``docs/``.  Defaults are those of the
packages that use them; a test compares the two.  So it is in ``sending_sections``,
``limit_sections`` and ``route_sections``.
"""

from collections.abc import Iterator
from typing import Literal, Self

from pydantic import Field, StrictBool, StrictInt, ValidationInfo

from mta.config.fields import one_secret, set_one, setting
from mta.config.file_values import FilePath, LogTarget, SecretCredential, SecretFile
from mta.config.secret import Secret
from mta.config.section import Conflict, Section
from mta.config.spool_url import Url, with_password
from mta.config.units import parse_duration as _d
from mta.config.units import parse_size as _s
from mta.config.values import (
    DnsServer,
    Duration,
    Endpoint,
    Mechanism,
    Name,
    NetworkValue,
    Probe,
    Size,
)


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
    upgrade_at_start: bool = Field(
        False,
        description="Whether the service brings an older schema up to date when it starts, beside"
        " others that work with it. False: mta db upgrade does.",
    )
    retention: Duration = setting(
        "How long finished mail can be traced.  The content of what was delivered goes at once.",
        _d("7d"),
    )
    transcripts: Literal["failures", "all", "none"] = Field(
        "failures",
        description="Of which attempts it is kept what was said, commands and replies, without"
        " content and credentials (mta trace --transcript): failures: those that did not at once"
        " bring the message to everybody; all; none.",
    )
    transcript_retention: Duration = setting(
        "For how long that is kept, at most until the message is forgotten.", _d("3d")
    )
    returned_retention: Duration = setting(
        "How long the content of bounced and expired mail is kept, so that it can be sent after all"
        " (mta queue resurrect).  0s: about a minute.",
        _d("3d"),
    )
    returned_size: Size = setting(
        "How much of such content is kept at most; the oldest goes first.", _s("256MiB")
    )
    orphan_age: Duration = setting(
        "Content without a message, left over by a connection that died in the middle, is removed"
        " when it is so old.",
        _d("1d"),
    )
    min_free: Size = setting(
        "SQLite: with less room than this in its file system new mail is told 452, so that what is"
        " here can still go out.  A quarter of it is held by a file beside the spool.  Of a file"
        ' system of less than ten times as much, a tenth.  "0": mail is taken until the disk is'
        " full.",
        _s("64MiB"),
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
    mechanisms: tuple[Mechanism, ...] | None = Field(
        None,
        description="How clients may log in: EXTERNAL, SCRAM-SHA-256-PLUS, SCRAM-SHA-256,"
        " SCRAM-SHA-1-PLUS, SCRAM-SHA-1, OAUTHBEARER, XOAUTH2, PLAIN, LOGIN.  Default: all; each is"
        " offered where it can succeed (EXTERNAL to a client that has shown a certificate,"
        " -PLUS on a connection with channel binding, the tokens with an issuer in [oauth]).",
        examples=[["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "PLAIN"]],
    )
    client_certificate: Literal["none", "requested", "required"] = Field(
        "none",
        description="requested: a client may show a certificate, and log in with EXTERNAL if it"
        " stands for an account (mta account certificate add); required: nobody is let in"
        " without one of tls.client_authorities.",
    )
    submission: StrictBool | None = Field(
        None,
        description="Whether all mail here is new, so that missing Date and Message-ID fields are"
        " added whoever sends it; otherwise they are added for who has logged in."
        "  Default: true where auth is required.",
        examples=[True],
    )
    incoming: StrictBool | None = Field(
        None,
        description="Whether mail for a [[domain]] of ours is taken here from everybody, without a"
        " login.  Default: true where auth is not required.",
        examples=[False],
    )
    trusted_networks: tuple[NetworkValue, ...] | None = Field(
        None,
        description="For this listener, instead of those at the top.",
        examples=[["192.0.2.0/24"]],
    )
    proxy: tuple[NetworkValue, ...] = Field(
        (),
        description="Proxies that connect for others, such as haproxy with send-proxy: each of"
        " their connections must begin with a PROXY header (version 1 or 2), and the client that it"
        " names is the client.  Nobody else can connect here then.",
        examples=[["10.0.0.5", "10.0.0.6"]],
    )
    xclient: tuple[NetworkValue, ...] = Field(
        (),
        description="Proxies that may say with Postfix's XCLIENT whose session it is, such as"
        " nginx.  They can be anybody, from any address.",
        examples=[["127.0.0.1"]],
    )
    xclient_login: StrictBool = Field(
        False,
        description="Whether these may also say who has logged in (LOGIN), without a password.",
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
        if self.incoming and self.auth == "required":
            text = 'needs auth = "optional" or "none": other servers do not log in'
            yield Conflict(("incoming",), text, ("auth",))
        if self.mechanisms is not None and self.auth == "none":
            yield Conflict(("mechanisms",), 'mean nothing with auth = "none"', ("auth",))
        if self.mechanisms == ():
            yield Conflict(("mechanisms",), 'must not be empty: write auth = "none"', ())
        for key in ("proxy", "xclient"):
            if any(network.prefixlen == 0 for network in getattr(self, key)):
                text = "must not be everybody: who is listed can be anybody"
                yield Conflict((key,), text)
        if self.xclient_login and not self.xclient:
            yield Conflict(("xclient_login",), "means nothing without xclient", ("xclient",))
        if self.client_certificate != "none" and self.tls == "none":
            yield Conflict(("client_certificate",), "needs TLS", ("tls",))
        if "EXTERNAL" in (self.mechanisms or ()) and self.client_certificate == "none":
            text = 'EXTERNAL needs client_certificate = "requested" or "required"'
            yield Conflict(("mechanisms",), text, ("client_certificate",))

    @property
    def takes_incoming(self) -> bool:
        """Whether mail for domains of ours is taken without a login."""
        return self.auth != "required" if self.incoming is None else self.incoming


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
    test_signed: Probe = Field(
        ".",
        description="With validating: a name that is signed.  The servers are tested with it at"
        " start and then every test_every: if they do not say that it is authentic, DANE is off and"
        ' the log and "mta status" say so.  "." is the root zone.',
    )
    test_unsigned: Probe | None = Field(
        None,
        description="A name that is there and not signed: not everything must be authentic.",
        examples=["unsigned.example.org"],
    )
    test_bogus: Probe | None = Field(
        None,
        description="A name whose signatures are wrong on purpose: no answer must come.",
        examples=["bogus.example.org"],
    )
    test_every: Duration = setting("How often.", _d("10m"))


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
