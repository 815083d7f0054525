"""The tables of TLS, and what is made of them."""

import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mta.config import ConfigError, build_tls
from mta.dns.validation import Probes
from mta.mail.security import Source
from mta.security.policies import Local, TlsPolicy
from mta.sts.settings import StsSettings
from mta.tls.certificates import CertificateFiles, CertificateUnusable, self_signed
from mta.tls.level import ClientTls

PRINT = "5E:0F" + "ab" * 30


def test_policies(configured):
    """Each key arrives; the order stays."""
    settings = configured(
        f"""
        [tls]
        unsigned_mx = "may"
        [[tls_policy]]
        name = "partner"
        recipient_domains = ["partner.example", "*.partner.example"]
        mx_hosts = [".mx.example"]
        level = "verify"
        names = ["Mail.Partner.example"]
        ca = "/etc/ca.pem"
        minimum = "TLSv1.3"
        observe = true
        [[tls_policy]]
        name = "pinned"
        level = "fingerprint"
        fingerprints = ["{PRINT}"]
        """
    )
    security = build_tls.security(settings)
    verify = Local(
        "verify", Source.POLICY, "partner", "TLSv1.3", ("mail.partner.example",), "/etc/ca.pem",
        observe=True,
    )  # fmt: skip
    known = frozenset({"5e0f" + "ab" * 30})
    pinned = Local("fingerprint", Source.POLICY, "pinned", fingerprints=known)
    domains = ("partner.example", ".partner.example")
    assert security.policies == (TlsPolicy(verify, domains, (".mx.example",)), TlsPolicy(pinned))
    assert security.unsigned_mx == "may"


@pytest.mark.parametrize(
    ("line", "key", "words"),
    [
        ('level = "may"\nnames = ["a.example"]', "names", 'no meaning unless level is "verify"'),
        ('level = "dane"\nca = "x.pem"', "ca", 'no meaning unless level is "verify"'),
        ('level = "fingerprint"', "fingerprints", "is required for this level"),
        ('level = "may"\nobserve = true', "observe", "nothing is required"),
        ('level = "none"\nminimum = "TLSv1.3"', "minimum", "nothing is required"),
        ('level = "fingerprint"\nfingerprints = ["12"]', "fingerprints", "64 hexadecimal digits"),
        ('level = "most"', "level", "verify"),
    ],
)
def test_what_has_no_meaning(configured, line, key, words):
    """A policy that cannot do what its author thought is refused, with the place."""
    with pytest.raises(ConfigError) as caught:
        configured(f'[[tls_policy]]\nname = "x"\n{line}\n')
    (problem,) = caught.value.problems
    assert problem.where.startswith(f'tls_policy["x"].{key}')
    assert words in problem.text


def test_probes(configured):
    """What the resolver is tested with: the root alone, unless somebody names more."""
    assert build_tls.probes(configured()) == Probes(".", "", "")
    more = '[dns]\ntest_signed = "S.example"\ntest_unsigned = "u.example"\ntest_bogus = "b.example"'
    found = build_tls.probes(configured(more))
    assert found == Probes("s.example", "u.example", "b.example")


def test_trust(configured, monkeypatch):
    """The system's authorities, those of certifi, or a file; what is missing is told."""
    assert build_tls.trust(configured()) == "system"
    assert build_tls.trust(configured('[tls]\ntrust = "/ca.pem"')) == Path("/ca.pem")
    settings = configured('[tls]\ntrust = "certifi"')
    monkeypatch.setitem(sys.modules, "certifi", None)
    with pytest.raises(ConfigError, match="pip install certifi"):
        build_tls.trust(settings)
    monkeypatch.undo()
    certifi = pytest.importorskip("certifi", reason="certifi is not installed")
    assert build_tls.trust(settings) == Path(certifi.where())
    assert isinstance(build_tls.client_tls(settings), ClientTls)


def test_files_are_read_at_once(configured):
    """An authority or a certificate of ours that cannot be read is found before mail waits."""
    absent = '[[tls_policy]]\nname = "x"\nlevel = "verify"\nca = "absent.pem"\n'
    with pytest.raises(ConfigError, match=r'tls_policy\["x"\]\.ca: .*absent\.pem'):
        build_tls.client_tls(configured(absent))
    smarthost = 'host = "s.example", client_certificate = "c.pem", client_key = "k.pem"'
    route = f'[[route]]\nname = "r"\nsmarthost = {{ {smarthost} }}\n'
    settings = configured(route)
    with pytest.raises(CertificateUnusable, match=r"c\.pem"):
        build_tls.client_tls(settings)
    certificate, key = self_signed("us.example", datetime.now(UTC))
    identity = CertificateFiles(
        settings.route[0].smarthost[0].client_certificate,
        settings.route[0].smarthost[0].client_key,
    )
    identity.certificate.write_bytes(certificate)
    identity.key.write_bytes(key)
    assert isinstance(build_tls.client_tls(settings), ClientTls)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (', client_key = "k.pem"', "needs client_certificate"),
        (', tls = "none", client_certificate = "c", client_key = "k"', "needs TLS"),
    ],
)
def test_half_an_identity(configured, more, words):
    """A certificate needs its key, and TLS to be shown in."""
    with pytest.raises(ConfigError, match=words):
        configured(f'[[route]]\nname = "r"\nsmarthost = {{ host = "s.example"{more} }}\n')


def test_mta_sts(configured):
    """On by default; mail waits for a policy for a minute at most."""
    assert build_tls.sts(configured("")) == StsSettings(enabled=True, first_wait_s=5)
    text = '[mta_sts]\nenabled = false\nfirst_wait = "1s"'
    assert build_tls.sts(configured(text)) == StsSettings(enabled=False, first_wait_s=1)
    with pytest.raises(ConfigError, match=r"mta_sts.first_wait.* is at most 1m"):
        configured('[mta_sts]\nfirst_wait = "2m"')
