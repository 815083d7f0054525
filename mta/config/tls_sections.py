"""The tables of TLS: in and out, and what we ask for at single destinations."""

from collections.abc import Iterator
from typing import Literal

from pydantic import Field, StrictBool

from mta.config.fields import setting
from mta.config.file_values import FilePath, Trusted
from mta.config.section import Conflict, Section
from mta.config.units import parse_duration as _d
from mta.config.values import (
    Domain,
    DomainPattern,
    Duration,
    Fingerprint,
    Name,
)


class Tls(Section):
    """TLS, in and out."""

    trust: Trusted = Field(
        "system",
        description='Certificate authorities that other hosts are verified with: "system",'
        ' "certifi" (the Python package of that name, if it is installed), or a PEM file.',
    )
    minimum: Literal["TLSv1.2", "TLSv1.3"] = Field(
        "TLSv1.2", description="The oldest version that listeners speak."
    )
    unsigned_mx: Literal["dane", "encrypt", "may"] = Field(
        "dane",
        description="What a host's TLSA records are worth if the MX records that lead to it are not"
        " signed (RFC 7672 §2.2.1): dane: they are kept to all the same; encrypt: TLS, whoever the"
        " peer is; may: nothing.",
    )
    client_authorities: FilePath | None = Field(
        None,
        description="PEM file of the certificate authorities that issue clients' certificates."
        "  Without it a client is known only by the fingerprint of its certificate.",
        examples=["/etc/mta/clients.pem"],
    )


class MtaSts(Section):
    """MTA-STS (RFC 8461): what recipients' domains promise on the web about their mail
    exchangers' certificates is kept to, where DANE has nothing to say."""

    enabled: StrictBool = Field(
        True,
        description="Whether policies are looked for.  That costs one look-up in DNS for each"
        " domain, which is remembered, and a visit to the web servers of domains that have one.",
    )
    first_wait: Duration = setting(
        "How long mail to a domain that is not known yet waits for its policy.  After that it goes"
        " as if there were none, and the policy is there for the next message.",
        _d("5s"),
    )

    def conflicts(self) -> Iterator[Conflict]:
        """Yield a wait that would hold up mail."""
        if self.first_wait > _d("1m"):
            yield Conflict(("first_wait",), "is at most 1m: mail waits that long")


class TlsPolicy(Section):
    """How private mail to some mail exchangers must travel; the first that fits decides, and goes
    before what the route says."""

    name: Name = Field(description="What the log and the trace call it.", examples=["partners"])
    recipient_domains: tuple[DomainPattern, ...] = Field(
        (),
        description='Recipients\' domains: "example.org", ".example.org" (the names below it), "*".'
        "  None: all.",
    )
    mx_hosts: tuple[DomainPattern, ...] = Field(
        (),
        description="Mail exchangers, likewise.  Which they are the DNS says, so that a policy by"
        " host is only as good as signed MX records are.  None: all.",
    )
    level: Literal["none", "may", "encrypt", "verify", "dane", "dane-only", "fingerprint"] = Field(
        description="As in routes; fingerprint: the certificate is one of those whose fingerprints"
        " are given.",
        examples=["verify"],
    )
    minimum: Literal["TLSv1.2", "TLSv1.3"] | None = Field(
        None, description="The oldest version of TLS that will do, where TLS is required."
    )
    names: tuple[Domain, ...] = Field(
        (),
        description="With verify: names of which the certificate must have one.  None: the host's.",
        examples=[["mail.example.org"]],
    )
    ca: FilePath | None = Field(
        None,
        description="With verify: PEM file of the authorities to trust instead of tls.trust.",
        examples=["/etc/mta/partner-ca.pem"],
    )
    fingerprints: tuple[Fingerprint, ...] = Field(
        (),
        description="With fingerprint: SHA-256 of the certificate, or of its public key.",
        examples=[["5e0f5b3c1a7d9e2f4b6a8c0d1e3f5a7b9c2d4e6f8a0b1c3d5e7f9a1b2c4d6e8f"]],
    )
    observe: StrictBool = Field(
        False,
        description="Deliver all the same, and write down where mail would have waited: a trial of"
        " a level, or the way round DANE that is broken at a site.",
    )

    def conflicts(self) -> Iterator[Conflict]:
        """Yield what has no meaning at the level."""
        for key, level in (("names", "verify"), ("ca", "verify"), ("fingerprints", "fingerprint")):
            if getattr(self, key) and self.level != level:
                yield Conflict((key,), f'has no meaning unless level is "{level}"', ("level",))
        if self.level == "fingerprint" and not self.fingerprints:
            yield Conflict(("fingerprints",), "is required for this level", ("level",))
        if self.level in ("none", "may"):
            for key in ("minimum", "observe"):
                if getattr(self, key):
                    text = f'has no meaning with level = "{self.level}": nothing is required'
                    yield Conflict((key,), text, ("level",))
