"""The cases of DANE as data: what a domain publishes, what its hosts show, what must follow.

Each case is a domain below one of three zones (``good.test`` signed, ``plain.test`` not signed,
``bogus.test`` signed with a key that its parent does not know), with hosts of its own.
"""

import datetime
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)


@dataclass
class Issued:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(
            Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    def tlsa(self, usage: int, selector: int, matching: int) -> str:
        """Return the TLSA record of this certificate, as zone files have it."""
        data = self.certificate.public_bytes(Encoding.DER)
        if selector:
            data = self.key.public_key().public_bytes(
                Encoding.DER, PublicFormat.SubjectPublicKeyInfo
            )
        digest = {0: data.hex, 1: hashlib.sha256(data).hexdigest, 2: hashlib.sha512(data).hexdigest}
        return f"{usage} {selector} {matching} {digest[matching]()}"


def issue(name: str, by: Issued | None = None, *, ca: bool = False, days: int = 30) -> Issued:
    """Issue a certificate; it has ended already if ``days`` is negative."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    end = NOW + days * DAY
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.certificate.subject if by else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(NOW, end) - DAY)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    if not ca:
        names = x509.SubjectAlternativeName([x509.DNSName(name)])
        builder = builder.add_extension(names, critical=False)
    return Issued(builder.sign(by.key if by else key, hashes.SHA256()), key)


ROOT = issue("DANE Root", ca=True)
MIDDLE = issue("DANE Middle", ROOT, ca=True)
OTHER = issue("other.test")


@dataclass(frozen=True)
class Host:
    """A receiving host: what it shows, what is published about it."""

    name: str
    chain: tuple[Issued, ...] | None  # None: no STARTTLS
    tlsa: tuple[str, ...] = ()
    at: str = ""  # where the records are, if not at the host's own name
    alias: str = ""  # another name of the host, which is the one in the MX record
    server: str = "aiosmtpd"


@dataclass(frozen=True)
class Case:
    """One domain."""

    domain: str
    about: str
    hosts: tuple[Host, ...]
    verdict: str  # "delivered", "deferred"
    level: str  # reached, or required where mail waits
    said: str = ""  # in the text, where mail waits
    mx: tuple[str, ...] = ()  # names in the MX records, if others than the hosts'
    extra: tuple[tuple[str, str], ...] = field(default=())  # owner, record


def _ee(domain: str, about: str, record: Callable[[Issued], str], **more: object) -> Case:
    """One host in ``domain`` with a self-signed certificate and one record."""
    host = f"mx.{domain}"
    shown = issue(str(more.pop("name", host)), days=int(str(more.pop("days", 30))))
    one = Host(host, (shown,), (record(shown),), server=str(more.pop("server", "aiosmtpd")))
    return Case(domain, about, (one,), **{"verdict": "delivered", "level": "dane", **more})  # type: ignore[arg-type]


def _ta(domain: str, about: str, record: str, **more: object) -> Case:
    """One host in ``domain`` with a certificate below ROOT and MIDDLE."""
    host = f"mx.{domain}"
    leaf = issue(str(more.pop("name", host)), MIDDLE, days=int(str(more.pop("days", 30))))
    chain = (leaf, MIDDLE, ROOT)[: int(str(more.pop("shown", 3)))]
    one = Host(host, chain, (record,))
    return Case(domain, about, (one,), **{"verdict": "delivered", "level": "dane", **more})  # type: ignore[arg-type]


def _kinds() -> list[Case]:
    """Each selector and matching type of both usages."""
    cases = []
    for selector in (0, 1):
        for matching in (0, 1, 2):
            kind = (3, selector, matching)
            text = " ".join(map(str, kind))
            domain = f"ee{selector}{matching}.good.test"
            cases.append(_ee(domain, f"{text} of the server", lambda one, k=kind: one.tlsa(*k)))
            domain, record = f"ta{selector}{matching}.good.test", ROOT.tlsa(2, selector, matching)
            cases.append(_ta(domain, f"2 {selector} {matching} of the root, shown", record))
    return cases


def _of_issuers() -> list[Case]:
    waits = {"verdict": "deferred", "level": "dane"}
    return [
        _ta("tamid.good.test", "2 1 1 of the intermediate", MIDDLE.tlsa(2, 1, 1)),
        _ta("tahid.good.test", "2 0 0 of the root, not shown", ROOT.tlsa(2, 0, 0), shown=2),
        _ta("takey.good.test", "2 1 0 of the root, not shown", ROOT.tlsa(2, 1, 0), shown=2),
        _ta("tagone.good.test", "2 0 1 of the root, not shown", ROOT.tlsa(2, 0, 1), shown=2,
            said="none of the TLSA records", **waits),
        _ta("taname.good.test", "2 1 1, certificate for another name", ROOT.tlsa(2, 1, 1),
            name="mx.else.test", said="certificate is for mx.else.test", **waits),
        _ta("tadom.good.test", "2 1 1, certificate for the domain", ROOT.tlsa(2, 1, 1),
            name="tadom.good.test"),
        _ta("taold.good.test", "2 1 1, certificate has expired", ROOT.tlsa(2, 1, 1),
            days=-1, said="expired", **waits),
    ]  # fmt: skip


def _of_servers() -> list[Case]:
    roll = issue("mx.roll.good.test")
    agile = issue("mx.agile.good.test")
    bad = OTHER.tlsa(3, 1, 1)
    waits = {"verdict": "deferred", "level": "dane"}
    return [
        _ee("bad.good.test", "3 1 1 of another key", lambda _: bad,
            said="none of the TLSA records", **waits),
        _ee("old.good.test", "3 1 1, expired, another name", lambda one: one.tlsa(3, 1, 1),
            name="wrong.test", days=-1),
        _ee("postfix.good.test", "3 1 1, a Postfix", lambda one: one.tlsa(3, 1, 1),
            server="postfix"),
        _ee("usage1.good.test", "1 1 1 alone: not usable", lambda one: one.tlsa(1, 1, 1),
            level="encrypted"),
        Case("usage0.good.test", "0 1 1 alone, no STARTTLS",
             (Host("mx.usage0.good.test", None, (ROOT.tlsa(0, 1, 1),)),),
             "deferred", "encrypt", "does not offer STARTTLS"),
        Case("strip.good.test", "3 1 1, no STARTTLS", (Host("mx.strip.good.test", None, (bad,)),),
             "deferred", "dane", "does not offer STARTTLS"),
        Case("roll.good.test", "3 1 1 of an old key and the new one",
             (Host("mx.roll.good.test", (roll,), (bad, roll.tlsa(3, 1, 1))),),
             "delivered", "dane"),
        Case("agile.good.test", "3 1 1 right, 3 1 2 wrong: the stronger digest counts",
             (Host("mx.agile.good.test", (agile,), (agile.tlsa(3, 1, 1), OTHER.tlsa(3, 1, 2))),),
             "deferred", "dane", "none of the TLSA records"),
        Case("none.good.test", "signed, no TLSA", (Host("mx.none.good.test", (OTHER,)),),
             "delivered", "encrypted"),
        Case("clear.good.test", "signed, no TLSA, no STARTTLS", (Host("mx.clear.good.test", None),),
             "delivered", "none"),
        Case("two.good.test", "first host's 3 1 1 wrong, second without TLSA",
             (Host("mx1.two.good.test", (issue("x.test"),), (bad,)),
              Host("mx2.two.good.test", (OTHER,))), "delivered", "encrypted"),
    ]  # fmt: skip


def _of_names() -> list[Case]:
    real, alias, out, imp = (issue(f"{name}.test") for name in ("a", "b", "c", "d"))
    away, false = issue("e.test"), issue("f.test")
    return [
        Case("cname.good.test", "MX is an alias, 3 1 1 at its end",
             (Host("real.cname.good.test", (real,), (real.tlsa(3, 1, 1),),
                   alias="mx.cname.good.test"),), "delivered", "dane"),
        Case("cname2.good.test", "MX is an alias, 3 1 1 at the alias",
             (Host("real.cname2.good.test", (alias,), (alias.tlsa(3, 1, 1),),
                   at="mx.cname2.good.test", alias="mx.cname2.good.test"),), "delivered", "dane"),
        Case("cname3.good.test", "signed alias of an unsigned host, 3 1 1 at the alias",
             (Host("real.cname3.plain.test", (out,), (out.tlsa(3, 1, 1),),
                   at="mx.cname3.good.test", alias="mx.cname3.good.test"),), "delivered", "dane"),
        Case("implicit.good.test", "no MX, 3 1 1 at the domain",
             (Host("implicit.good.test", (imp,), (imp.tlsa(3, 1, 1),)),), "delivered", "dane",
             mx=("",)),
        Case("all.plain.test", "nothing is signed, 3 1 1 wrong",
             (Host("mx.all.plain.test", (OTHER,), (ROOT.tlsa(3, 1, 1),)),),
             "delivered", "encrypted"),
        Case("away.plain.test", "MX not signed, host signed, 3 1 1",
             (Host("mx.away.good.test", (away,), (away.tlsa(3, 1, 1),)),), "delivered", "dane"),
        Case("false.plain.test", "MX not signed, host signed, 3 1 1 wrong",
             (Host("mx.false.good.test", (false,), (OTHER.tlsa(3, 1, 1),)),), "deferred", "dane",
             "none of the TLSA records"),
    ]  # fmt: skip


def _of_failures() -> list[Case]:
    tlsa = issue("g.test")
    return [
        Case("x.bogus.test", "MX bogus", (Host("mx.none2.good.test", (OTHER,)),),
             "deferred", "", "SERVFAIL"),
        Case("host.good.test", "host's address bogus",
             (Host("mx.host.bogus.test", (OTHER,), (OTHER.tlsa(3, 1, 1),)),),
             "deferred", "", "SERVFAIL"),
        Case("tlsa.good.test", "TLSA bogus", (Host("mx.tlsa.good.test", (tlsa,)),),
             "deferred", "", "SERVFAIL"),
        Case("tlsa2.good.test", "first host's TLSA bogus, second has a right 3 1 1",
             (Host("mx1.tlsa2.good.test", (OTHER,)),
              Host("mx2.tlsa2.good.test", (tlsa,), (tlsa.tlsa(3, 1, 1),))), "delivered", "dane"),
    ]  # fmt: skip


CASES = (*_kinds(), *_of_issuers(), *_of_servers(), *_of_names(), *_of_failures())
BROKEN = ("_tcp.mx.tlsa.good.test", "_tcp.mx1.tlsa2.good.test")  # zones whose keys are wrong
