"""Settings of authentication: mechanisms, client certificates, tokens."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm
from twisted.internet.task import Clock

from mta.config import ConfigError, Settings, build
from mta.smtp.mechanisms import MECHANISMS
from mta.tls.clients import ClientCertificates

HEAD = 'host_name = "relay.example.org"\n[[certificate]]\ncertificate = "c"\nkey = "k"\n'
LISTENER = '[[listener]]\nname = "a"\nendpoint = 465\n'
OAUTH = '[oauth]\nissuer = "https://i/"\naudience = "a"\njwks = "{}"\n'

Configured = Callable[..., Settings]


def offered(settings: Settings) -> list[tuple[str, ...]]:
    """The mechanisms of the listeners."""
    return [one.mechanisms for one in build.listeners(settings)]


def test_mechanisms(configured: Configured) -> None:
    """By default all that can succeed; else the list, in its order."""
    without = tuple(n for n in MECHANISMS if n not in ("EXTERNAL", "OAUTHBEARER", "XOAUTH2"))
    assert offered(configured(LISTENER)) == [without]
    whole = LISTENER + 'client_certificate = "requested"\n' + OAUTH.format("https://i/keys")
    assert offered(configured(whole)) == [tuple(MECHANISMS)]
    listed = LISTENER + 'mechanisms = ["plain", "SCRAM-SHA-256"]\n'
    assert offered(configured(listed)) == [("PLAIN", "SCRAM-SHA-256")]


def test_client_certificates(configured: Configured, tmp_path: Path) -> None:
    """The mode of each listener, and the authorities for all."""
    text = LISTENER + 'client_certificate = "required"\n'
    settings = configured(text + '[tls]\nclient_authorities = "clients.pem"\n')
    clients = build.clients(settings)
    assert clients.modes == {ClientCertificates.REQUIRED}
    assert clients.authorities == tmp_path / "clients.pem"
    (listener,) = build.listeners(settings)
    assert listener.client_certificates is ClientCertificates.REQUIRED


@pytest.mark.parametrize(
    ("text", "where", "words"),
    [
        (LISTENER + 'mechanisms = ["CRAM-MD5"]', 'listener["a"].mechanisms', "must be one of"),
        (LISTENER + "mechanisms = []", 'listener["a"].mechanisms', "must not be empty"),
        (LISTENER + 'mechanisms = ["EXTERNAL"]', 'listener["a"].mechanisms', "EXTERNAL needs"),
        (LISTENER + 'mechanisms = ["XOAUTH2"]', 'listener["a"].mechanisms', "XOAUTH2 need an"),
        (
            LISTENER + 'client_certificate = "required"',
            'listener["a"].client_certificate',
            "needs tls.client_authorities",
        ),
        (
            LISTENER + 'client_certificate = "requested"\ntls = "none"\nauth = "none"\n'
            'trusted_networks = ["192.0.2.0/24"]',
            'listener["a"].client_certificate',
            "needs TLS",
        ),
        (
            LISTENER + 'mechanisms = ["PLAIN"]\nauth = "none"\ntrusted_networks = ["192.0.2.0/24"]',
            'listener["a"].mechanisms',
            "mean nothing",
        ),
        ('[oauth]\nissuer = "i"\njwks = "f"', "oauth.issuer", "needs audience"),
        ('[oauth]\nissuer = "i"\naudience = "a"', "oauth.issuer", "needs jwks"),
        ('[oauth]\naudience = "a"', "oauth.audience", "needs issuer"),
        (OAUTH.format("http://i/keys"), "oauth.jwks", "must begin with https://"),
        (OAUTH.format("https://i/a b"), "oauth.jwks", "must begin with https://"),
    ],
)
def test_what_is_wrong(problems: Callable[..., dict[str, str]], text, where, words) -> None:
    """What could never work is told at the start, with the place."""
    found = problems(HEAD + text)
    assert any(where == key or where in key for key in found), found
    assert any(words in problem for problem in found.values()), found


def test_tokens(configured: Configured, tmp_path: Path) -> None:
    """Without an issuer no tokens; a file of keys must be readable when it is put into force."""
    assert build.tokens(configured(), Clock()) is None
    settings = configured(OAUTH.format("jwks.json"))
    with pytest.raises(ConfigError, match=r"oauth\.jwks.*No such file"):
        build.tokens(settings, Clock())
    (tmp_path / "jwks.json").write_text("{}")
    with pytest.raises(ConfigError, match="not a JSON Web Key Set"):
        build.tokens(settings, Clock())
    key = ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()).public_key(), as_dict=True)
    (tmp_path / "jwks.json").write_text(json.dumps({"keys": [key]}))
    assert build.tokens(settings, Clock()) is not None
    assert build.tokens(configured(OAUTH.format("https://i/keys")), Clock()) is not None
