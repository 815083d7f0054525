"""Turn the tables of TLS into what ``mta.tls``, ``mta.dns`` and ``mta.delivery`` take."""

import importlib
from pathlib import Path
from typing import Any, Literal

from mta.config.build_smarthosts import identity
from mta.config.problems import ConfigError, Problem
from mta.config.settings import Settings
from mta.config.tls_sections import TlsPolicy as TlsPolicySection
from mta.delivery.securing import SecuritySettings
from mta.dns.validation import Probes
from mta.mail.security import Source
from mta.security.policies import Local, TlsPolicy
from mta.sts.settings import StsSettings
from mta.tls.certificates import CertificateUnusable, read_certificates
from mta.tls.level import ClientTls


def security(settings: Settings) -> SecuritySettings:
    """Return what is asked for beside the routes."""
    return SecuritySettings(tuple(map(_policy, settings.tls_policy)), settings.tls.unsigned_mx)


def _policy(one: TlsPolicySection) -> TlsPolicy:
    local = Local(
        level=one.level,
        source=Source.POLICY,
        name=one.name,
        minimum=one.minimum or "",
        names=one.names,
        ca=str(one.ca) if one.ca else "",
        fingerprints=frozenset(one.fingerprints),
        observe=one.observe,
    )
    return TlsPolicy(local, one.recipient_domains, one.mx_hosts)


def trust(settings: Settings) -> Literal["system"] | Path:
    """Return the authorities that other hosts are verified with; ``ConfigError`` without any."""
    configured = settings.tls.trust
    if configured != "certifi":
        return configured if isinstance(configured, Path) else "system"
    try:
        certifi: Any = importlib.import_module("certifi")
    except ImportError:
        text = 'is "certifi", and the Python package certifi is not installed: pip install certifi'
        raise ConfigError([Problem(settings.file, "tls.trust", text)]) from None
    return Path(certifi.where())


def client_tls(settings: Settings) -> ClientTls:
    """Build what outbound TLS takes place with.

    Raises ``CertificateUnusable``, or ``ConfigError``.
    """
    for one in settings.tls_policy:
        _read_authorities(settings, one)
    return ClientTls(
        trust(settings),
        others=dict.fromkeys(str(one.ca) for one in settings.tls_policy if one.ca),
        identities=[
            found
            for route in settings.route
            for one in route.smarthost
            if (found := identity(one)) is not None
        ],
    )


def _read_authorities(settings: Settings, policy: TlsPolicySection) -> None:
    """Say which policy it is whose authorities cannot be read."""
    if policy.ca is None:
        return
    try:
        read_certificates(policy.ca)
    except CertificateUnusable as error:
        key = f'tls_policy["{policy.name}"].ca'
        raise ConfigError([Problem(settings.file, key, str(error))]) from error


def sts(settings: Settings) -> StsSettings:
    """Return how MTA-STS is looked at."""
    return StsSettings(settings.mta_sts.enabled, settings.mta_sts.first_wait.total_seconds())


def probes(settings: Settings) -> Probes:
    """Return the names that the resolver is tested with."""
    dns = settings.dns
    return Probes(dns.test_signed, dns.test_unsigned or "", dns.test_bogus or "")
