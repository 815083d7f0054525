"""How private a session has to be, and what a handshake has shown: words, no decisions.

``mta.security`` makes a ``Requirement`` before a host is dialled and judges afterwards;
delivery, the log, the history and reports all read these values.

Two requirements are equal when they ask for the same: a connection that was opened, or a TLS
session that was begun, under one is of use under an equal one only.  Who asked, and why, does
not count there.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal


class Level(StrEnum):
    """What is asked for."""

    NONE = "none"  # TLS is not even tried
    MAY = "may"  # STARTTLS where it works (RFC 7435)
    ENCRYPT = "encrypt"  # TLS, whoever the peer is
    DANE = "dane"  # the certificate matches a TLSA record (RFC 7672)
    STS = "sts"  # chain and name verify, as the domain's policy says (RFC 8461)
    VERIFY = "verify"  # chain and name verify, as we say
    FINGERPRINT = "fingerprint"  # the certificate is one of those we know


class Result(StrEnum):
    """Why a session fell short, in the words of TLS reports (RFC 8460 §4.3)."""

    STARTTLS_NOT_SUPPORTED = "starttls-not-supported"
    HOST_MISMATCH = "certificate-host-mismatch"
    EXPIRED = "certificate-expired"
    NOT_TRUSTED = "certificate-not-trusted"
    VALIDATION_FAILURE = "validation-failure"  # anything that has no word of its own
    TLSA_INVALID = "tlsa-invalid"
    DNSSEC_INVALID = "dnssec-invalid"
    DANE_REQUIRED = "dane-required"
    STS_FETCH_ERROR = "sts-policy-fetch-error"
    STS_INVALID = "sts-policy-invalid"
    STS_WEBPKI_INVALID = "sts-webpki-invalid"


class Source(StrEnum):
    """Who asks."""

    DEFAULT = "default"  # nobody: it is done where it works
    ROUTE = "route"
    POLICY = "policy"  # a [[tls_policy]] of ours
    DANE = "dane"
    STS = "sts"
    MESSAGE = "message"  # REQUIRETLS, or TLS-Required: No (RFC 8689)


@dataclass(frozen=True, slots=True, order=True)
class Tlsa:
    """One TLSA record (RFC 6698 §2.1)."""

    usage: int  # 2: DANE-TA, 3: DANE-EE; the others cannot be used with SMTP (RFC 7672 §3.1.3)
    selector: int  # 0: the whole certificate, 1: its public key
    matching: int  # 0: as it is, 1: SHA-256, 2: SHA-512
    data: bytes

    def __str__(self) -> str:
        """Return the record as zone files have it, shortened."""
        shown = self.data.hex()
        shown = shown if len(shown) <= 16 else f"{shown[:16]}..."
        return f"{self.usage} {self.selector} {self.matching} {shown}"


class DaneState(StrEnum):
    """What the DNS says about a host (RFC 7672 §2.2)."""

    OFF = "off"  # nobody looked: no resolver that validates, or nobody asked
    INSECURE = "insecure"  # the host's addresses are not signed: no TLSA is looked for
    ABSENT = "absent"  # no TLSA records, or none that are signed
    UNUSABLE = "unusable"  # there are, and none of a kind that SMTP can use
    USABLE = "usable"
    FAILED = "failed"  # bogus, SERVFAIL, no answer: whatever is there cannot be known


@dataclass(frozen=True, slots=True)
class Dane:
    """DANE's facts about one host and port."""

    state: DaneState = DaneState.OFF
    records: tuple[Tlsa, ...] = ()  # usable ones
    base: str = ""  # the TLSA base domain: where the records were found (RFC 7672 §2.2.2)
    text: str = ""  # in words, for OFF, UNUSABLE and FAILED


NOT_LOOKED_FOR = Dane()


@dataclass(frozen=True, slots=True)
class Published:
    """The policy that a domain has published, in the words of TLS reports (RFC 8460 §4.4)."""

    kind: Literal["tlsa", "sts"]
    domain: str
    lines: tuple[str, ...] = ()  # the policy as it is applied; () if there is none
    mx: tuple[str, ...] = ()  # with "sts": the patterns of hosts
    result: Result | None = None  # what was wrong when it was looked for last
    text: str = ""  # and in words


@dataclass(frozen=True, slots=True)
class Requirement:
    """What one session with one host has to come to before mail is sent on it."""

    level: Level = Level.MAY
    names: tuple[str, ...] = ()  # the certificate may be for any of these; () the host dialled
    tlsa: tuple[Tlsa, ...] = ()  # with DANE: the usable ones
    sni: str = ""  # the name asked for (RFC 6066 §3); "" the host dialled
    minimum: str = ""  # the oldest version: "TLSv1.3"; "" what this program speaks
    ca: str = ""  # file of the authorities to trust instead of the usual ones
    fingerprints: frozenset[str] = frozenset()  # SHA-256 of certificate or public key, hex
    observe: bool = False  # what is missing is recorded, and mail goes all the same
    source: Source = field(default=Source.DEFAULT, compare=False)
    why: str = field(default="", compare=False)  # one line; "" where nobody asked
    # What would have stopped us already, before the host was dialled, but for ``observe``
    passed_over: str = field(default="", compare=False)
    passed_over_for: Result | None = field(default=None, compare=False)  # the same for reports
    published: Published | None = field(default=None, compare=False)  # what MTA-STS has to say

    @property
    def uses_tls(self) -> bool:
        """TLS is at least tried."""
        return self.level is not Level.NONE

    @property
    def insists(self) -> bool:
        """Nothing is sent in the clear."""
        return self.level not in (Level.NONE, Level.MAY) and not self.observe

    @property
    def verifies(self) -> bool:
        """A certificate that a known authority has issued for the name is asked for."""
        return self.level in (Level.VERIFY, Level.STS)


ANYTHING = Requirement()  # STARTTLS where it works


@dataclass(frozen=True, slots=True)
class Skip:
    """This host is not to be tried."""

    why: str
    result: Result
    permanent: bool = False  # trying again is useless
    source: Source = Source.DEFAULT  # whose requirement cannot be met
    published: Published | None = None


@dataclass(frozen=True, slots=True)
class Flaw:
    """What is wrong with a session or a certificate."""

    result: Result
    text: str


@dataclass(frozen=True, slots=True)
class Shown:
    """What a handshake has shown."""

    version: str  # "TLSv1.3"
    cipher: str
    pkix: Flaw | None  # None: chain and name verify
    proof: Flaw | None  # the same for what was required; None: nothing was, or it is there
