"""The tables of ``[[route]]``: which mail, and where it goes.

Mailboxes of our own are in ``mailbox_sections``.
"""

from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, StrictBool, StrictInt, StrictStr

from mta.config.address_sections import no_rewrites
from mta.config.fields import one_secret, set_one
from mta.config.file_values import FilePath, SecretCredential, SecretFile
from mta.config.mailbox_sections import LmtpTarget, MaildirTarget
from mta.config.secret import Secret
from mta.config.section import Conflict, Section
from mta.config.sending_sections import SOURCE, family_conflicts
from mta.config.token_section import TokenTarget
from mta.config.values import (
    AddressPattern,
    DomainPattern,
    FullName,
    Host,
    Name,
    SourceAddress,
)
from mta.smtp.client_oauth import BEARER_MECHANISMS
from mta.smtp.client_sasl import MECHANISMS as PASSWORD_MECHANISMS

_PORTS = {"implicit": 465, "starttls": 587, "none": 25}

TARGETS = ("mx", "smarthost", "lmtp", "maildir", "discard", "error")


class MxTarget(Section):
    """To the mail exchangers of the recipient's domain."""

    port: StrictInt = Field(25, ge=1, le=65535, description="Port of every mail exchanger.")
    tls: Literal["dane", "dane-only", "may", "encrypt", "verify", "none"] = Field(
        "dane",
        description="dane: what the domain publishes (DANE), otherwise as may; may: STARTTLS where"
        " it works; encrypt: TLS, whoever the peer is; verify: its certificate must verify;"
        " dane-only: DANE or nothing; none: never.  A [[tls_policy]] that fits goes before.",
    )
    waivable: StrictBool = Field(
        False,
        description='Messages that say "TLS-Required: No" (RFC 8689) go on where encrypt or verify'
        " would hold them up.",
    )


class SmarthostTarget(Section):
    """To one host that takes everything."""

    host: Host = Field(description="Its name or address.", examples=["relay.example.net"])
    port: StrictInt | None = Field(
        None,
        ge=1,
        le=65535,
        description="Default: 465 for implicit, 587 for starttls, 25 for none.",
    )
    tls: Literal["implicit", "starttls", "none"] = Field(
        "implicit", description="Its certificate must verify, unless this is none."
    )
    login: StrictStr = Field("", description="Account there; none: no AUTH.")
    password_file: SecretFile | None = Field(
        None, description="File with the password, alone on its line."
    )
    password_credential: SecretCredential | None = Field(
        None, description="Or: name of the file in $CREDENTIALS_DIRECTORY that has it."
    )

    mechanisms: tuple[
        Literal[
            "SCRAM-SHA-256-PLUS",
            "SCRAM-SHA-256",
            "SCRAM-SHA-1-PLUS",
            "SCRAM-SHA-1",
            "PLAIN",
            "LOGIN",
            "OAUTHBEARER",
            "XOAUTH2",
        ],
        ...,
    ] = Field(
        (),
        description="Which mechanisms of AUTH may be used; of those that it offers the strongest is"
        " taken.  None: all.",
    )
    oauth: TokenTarget | None = Field(
        None,
        description="Log in by token instead of a password: where tokens come from (token_url,"
        " client_id, client_secret_file or client_secret_credential, refresh_token_file, scope,"
        " client_auth).",
    )
    preference: StrictInt | None = Field(
        None,
        ge=0,
        le=65535,
        description="Of several: the lowest first, equal ones by turns.  Default: the order of the"
        " tables.",
    )
    per_second: StrictInt | None = Field(
        None,
        ge=1,
        description="Messages in a second; what is beyond goes to the next, and the route is no"
        " faster than all of them, by all processes together.  How it is divided among several"
        " each process counts for itself.",
    )
    per_day: StrictInt | None = Field(
        None,
        ge=1,
        description="Messages in any 24 hours; what is beyond goes to the next, and waits when all"
        " are used up.  Shared by all processes, and kept over a restart.",
    )

    client_certificate: FilePath | None = Field(
        None,
        description="PEM file: the certificate that we show there, then its intermediates.",
        examples=["/etc/mta/relay.pem"],
    )
    client_key: FilePath | None = Field(
        None, description="PEM file: its private key.", examples=["/etc/mta/relay.key"]
    )

    def conflicts(self) -> Iterator[Conflict]:
        """Yield credentials that are incomplete, double, or would go in the clear."""
        if (self.client_certificate is None) != (self.client_key is None):
            missing = "client_key" if self.client_key is None else "client_certificate"
            given = "client_certificate" if self.client_key is None else "client_key"
            yield Conflict((given,), f"needs {missing}", (missing,))
        if self.client_certificate is not None and self.tls == "none":
            yield Conflict(("client_certificate",), "needs TLS", ("tls",))
        yield from one_secret(self, "password")
        if self.login and self.password is None and self.oauth is None:
            text = "needs password_file, password_credential or oauth"
            yield Conflict(("login",), text, ("password_file", "oauth"))
        yield from self._token_conflicts()
        if self.password is not None and not self.login:
            yield Conflict((set_one(self, "password"),), "needs login", ("login",))
        if self.mechanisms and not self.login:
            yield Conflict(("mechanisms",), "needs login", ("login",))
        if self.login and self.tls == "none":
            yield Conflict(
                ("tls",), '"none" with login: a password is never sent in the clear', ("login",)
            )

    def _token_conflicts(self) -> Iterator[Conflict]:
        """Yield what does not go together with tokens, or without."""
        named = BEARER_MECHANISMS if self.oauth is not None else PASSWORD_MECHANISMS
        if self.login and self.mechanisms and not set(self.mechanisms) & set(named):
            how = "with" if self.oauth is not None else "without"
            text = f"{how} oauth needs one of {', '.join(named)}"
            yield Conflict(("mechanisms",), text, ("login", "oauth"))
        if self.oauth is None:
            return
        if not self.login:
            yield Conflict(("oauth",), "needs login", ("login",))
        if self.password is not None:
            key = set_one(self, "password")
            yield Conflict((key,), "and oauth exclude each other", ("oauth",))

    @property
    def password(self) -> Secret | None:
        """Where the password is."""
        return self.password_file or self.password_credential

    @property
    def effective_port(self) -> int:
        """The port that is meant."""
        return self.port or _PORTS[self.tls]


def _list(value: object) -> object:
    """One table is a list of one."""
    return [value] if isinstance(value, dict | SmarthostTarget) else value


SmarthostTargets = Annotated[tuple[SmarthostTarget, ...], BeforeValidator(_list)]


def _several(hosts: Sequence[SmarthostTarget]) -> Iterator[Conflict]:
    """Yield what does not go together among the smarthosts of a route."""
    seen = set()
    said = [one.preference is not None for one in hosts]
    for number, one in enumerate(hosts):
        if any(said) and one.preference is None:
            text = "all of them need a preference, or none"
            yield Conflict(("smarthost", number, "preference"), text, ())
        if (one.host, one.effective_port) in seen:
            yield Conflict(("smarthost", number, "host"), "with this port is there twice", ())
        seen.add((one.host, one.effective_port))


class ErrorTarget(Section):
    """Back to the sender."""

    code: StrictInt = Field(550, ge=500, le=599, description="Reply code.")
    enhanced: StrictStr = Field(
        "5.7.1",
        pattern=r"^5\.\d{1,3}\.\d{1,3}$",
        description="Enhanced status code (RFC 3463), 5.x.x.",
    )
    text: StrictStr = Field(
        "Mail to this address is not accepted here",
        pattern=r"^[ -~]+$",
        description="What the sender is told, in ASCII.",
    )


class Route(Section):
    """A rule; the first that matches decides, anew at every attempt."""

    name: Name = Field(description="What the log and the trace call it.", examples=["partners"])
    recipient_domains: tuple[DomainPattern, ...] = Field(
        (),
        description='Domains it is for: "example.org", ".example.org" (the names below it), "*".'
        "  None: all.",
    )
    sender_domains: tuple[DomainPattern, ...] = Field(
        (), description='Domains it is from, likewise; "<>" is the null sender.  None: all.'
    )
    rewrite_sender: dict[StrictStr, StrictStr] = Field(
        default_factory=dict,
        description="Envelope senders of what goes this way: what takes the place of what, as in"
        " [[rewrite]].",
        examples=[{".internal.example.org": "@example.org"}],
    )
    verp: StrictBool = Field(
        False,
        description="Whether each recipient gets a transaction and an envelope sender of its own:"
        ' "news+ann=example.com@example.org" for ann@example.com.  Bounces are the sender\'s'
        " business.",
    )
    verp_senders: tuple[AddressPattern, ...] = Field(
        (), description="Only for these senders.  None: for all but the null sender."
    )
    verp_delimiters: StrictStr = Field(
        "+=",
        pattern=r"^[-+=_#.!]{2}$",
        description="Before the recipient, and in the place of its @.",
    )
    source: tuple[SourceAddress, ...] = Field(
        (), description=f"{SOURCE}  None: as delivery.source says."
    )
    ehlo: FullName | None = Field(None, description="The name in EHLO.  Default: delivery.ehlo.")
    prefer: Literal["ipv6", "ipv4", "any"] | None = Field(
        None,
        description="Which of a host's addresses is tried first.  Default: delivery.prefer.",
    )
    families: tuple[Literal["ipv4", "ipv6"], ...] = Field(
        (),
        description="Which of ipv4 and ipv6 are used at all.  Default: those of source, else"
        " delivery.families.",
    )
    on_unknown: Literal["retry", "hold", "delivered"] = Field(
        "retry",
        description="What becomes of mail where the line is lost after the final dot, and nobody"
        " knows whether it was taken: retry (it may arrive twice), hold (until an operator releases"
        " or removes it) or delivered (it may be lost).  So that it holds over a crash, hold and"
        " delivered cost a commit before each final dot.",
    )
    mx: MxTarget | None = Field(None, description="To the mail exchangers of the domain.")
    smarthost: SmarthostTargets = Field(
        (),
        description="To one host; or, as a list of such tables, to several: in their order, or by"
        " preference.  One that fails is left alone for a while (queue.down_min, queue.down_max).",
    )
    lmtp: LmtpTarget | None = Field(None, description="To a server of mailboxes, by LMTP.")
    maildir: MaildirTarget | None = Field(None, description="Into a Maildir for each recipient.")
    discard: Literal[True] | None = Field(None, description="Nowhere, as if delivered.")
    error: ErrorTarget | None = Field(None, description="Back to the sender.")

    def conflicts(self) -> Iterator[Conflict]:
        """Yield a route to nowhere, or to two places."""
        given = [target for target in TARGETS if getattr(self, target)]
        yield from _several(self.smarthost)
        if not given:
            known = f"{', '.join(TARGETS[:-1])} or {TARGETS[-1]}"
            yield Conflict(("name",), f"this route needs one of {known}", TARGETS)
        yield from no_rewrites(self.rewrite_sender, "rewrite_sender")
        if self.verp_senders and not self.verp:
            yield Conflict(("verp_senders",), "mean nothing without verp = true", ("verp",))
        yield from family_conflicts(self.source, self.families, self.prefer)
        for key in ("source", "ehlo", "prefer", "families", "on_unknown"):
            given_it = getattr(self, key) not in (None, (), "retry")
            if given_it and not any((self.mx, self.smarthost, self.lmtp)):
                yield Conflict((key,), "means nothing where nobody is dialled", tuple(given))
        for target in given[1:]:
            yield Conflict((target,), f"and {given[0]} exclude each other", (given[0],))
