"""Bearer tokens against a key set: what is right, and the attacks that have names."""

import json
import time
from base64 import urlsafe_b64encode
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from mta.auth.failures import AuthenticationFailed, AuthenticationUnavailable
from mta.auth.jwks import RETRY_S, KeySet, KeysUnusable, from_file, parse
from mta.auth.tokens import TokenRules, Tokens

RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = Ed25519PrivateKey.generate()
OTHER = rsa.generate_private_key(public_exponent=65537, key_size=2048)
RULES = TokenRules("https://login.example.org/", "smtp.example.org", "email")


def entry(key: Any, key_id: str, **more: str) -> dict[str, Any]:
    """A public key as a member of a key set."""
    algorithm = {"RSAPublicKey": RSAAlgorithm, "ECPublicKey": ECAlgorithm}
    made = algorithm.get(type(key).__name__, OKPAlgorithm).to_jwk(key, as_dict=True)
    return {**made, "kid": key_id, **more}


SET = {
    "keys": [
        entry(RSA.public_key(), "r"),
        entry(EC.public_key(), "e", alg="ES256", use="sig"),
        entry(ED.public_key(), "o"),
        entry(OTHER.public_key(), "for-encryption", use="enc"),
        {"kty": "oct", "kid": "s", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0", "alg": "HS256"},
        {"kty": "quantum", "kid": "q"},
    ]
}


class Server:
    """Where the keys come from."""

    def __init__(self) -> None:
        self.document: Any = SET
        self.fetched = 0
        self.wait: Deferred[None] | None = None

    async def __call__(self) -> bytes:
        self.fetched += 1
        if self.wait is not None:
            await self.wait
        if isinstance(self.document, Exception):
            raise self.document
        return json.dumps(self.document).encode()


class World:
    """A server, a clock, and what checks."""

    def __init__(self, rules: TokenRules = RULES) -> None:
        self.server, self.clock = Server(), Clock()
        self.keys = KeySet(self.server, self.clock.seconds)
        self.tokens = Tokens(rules, self.keys)

    def ask(self, token: str) -> Deferred[str]:
        return Deferred.fromCoroutine(self.tokens.login(token))

    def check(self, token: str) -> str:
        """Return the login, or the reason of the refusal."""
        got: list[Any] = []
        self.ask(token).addBoth(got.append)
        if isinstance(got[0], str):
            return got[0]
        assert len(token) < 20 or token not in got[0].getTraceback()
        failure = got[0].check(AuthenticationFailed, AuthenticationUnavailable)
        assert failure is not None, got[0]
        return str(getattr(got[0].value, "reason", "unavailable"))


def token(key: Any = RSA, algorithm: str = "RS256", key_id: str | None = "r", **claims: Any) -> str:
    """A token that is right, but for what is given; None takes a claim out."""
    now = time.time()
    whole = {
        "iss": RULES.issuer, "aud": RULES.audience, "exp": now + 300, "iat": now,
        "email": "app7@example.org", **claims,
    }  # fmt: skip
    whole = {name: value for name, value in whole.items() if value is not None}
    headers = {} if key_id is None else {"kid": key_id}
    return jwt.encode(whole, key, algorithm=algorithm, headers=headers)


def forged(header: dict[str, Any], claims: dict[str, Any], signature: bytes = b"") -> str:
    """A token put together by hand."""
    parts = (json.dumps(header).encode(), json.dumps(claims).encode(), signature)
    return ".".join(urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


GOOD = {
    "iss": RULES.issuer, "aud": RULES.audience, "exp": 4_000_000_000, "email": "app7@example.org",
}  # fmt: skip


@pytest.mark.parametrize(
    ("key", "algorithm", "key_id"),
    [(RSA, "RS256", "r"), (RSA, "PS512", "r"), (EC, "ES256", "e"), (ED, "EdDSA", "o")],
)
def test_right(key: Any, algorithm: str, key_id: str) -> None:
    """Every kind of key; several audiences, one of them ours; clocks a little apart."""
    world = World()
    assert world.check(token(key, algorithm, key_id)) == "app7@example.org"
    assert (
        world.check(token(key, algorithm, key_id, aud=["a", RULES.audience])) == "app7@example.org"
    )
    assert world.check(token(key, algorithm, key_id, exp=time.time() - 10)) == "app7@example.org"


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"exp": 1_700_000_000}, "token expired"),
        ({"exp": None}, "token incomplete"),
        ({"nbf": 4_000_000_000}, "token not valid yet"),
        ({"iss": "https://login.example.com/"}, "token issuer"),
        ({"iss": "https://login.example.org"}, "token issuer"),
        ({"iss": None}, "token incomplete"),
        ({"aud": "imap.example.org"}, "token audience"),
        ({"aud": None}, "token incomplete"),
        ({"email": None}, "token without login"),
        ({"email": ""}, "token without login"),
        ({"email": ["app7@example.org"]}, "token without login"),
    ],
)
def test_attack_claims(claims: dict[str, Any], reason: str) -> None:
    """Attack: a token that is old, of another server, for another service, about nobody."""
    assert World().check(token(**claims)) == reason


def test_attack_alg_none() -> None:
    """Attack: ``alg: none``, in any spelling, with a signature or without (RFC 8725 §2.1)."""
    for name in ("none", "None", "NONE", "", None, ["none"], 1):
        for signature in (b"", b"x"):
            assert World().check(forged({"alg": name, "kid": "r"}, GOOD, signature)) in (
                "token algorithm", "token malformed",
            )  # fmt: skip


def test_attack_public_key_as_hmac_secret() -> None:
    """Attack: HS256 keyed with the text of our RSA key, which everybody has (CVE-2015-9235)."""
    public = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    header, body = forged({"alg": "HS256", "kid": "r"}, GOOD).split(".")[:2]
    import hashlib
    import hmac

    for secret in (public, public.strip(), json.dumps(SET["keys"][0]).encode()):
        signature = hmac.digest(secret, f"{header}.{body}".encode(), hashlib.sha256)
        made = f"{header}.{body}.{urlsafe_b64encode(signature).rstrip(b'=').decode()}"
        assert World().check(made) == "token algorithm"


def test_attack_symmetric_key_in_the_set() -> None:
    """Attack: a symmetric key that somebody published would let everybody sign."""
    made = token("secretsecretsecretsecretsecret", "HS256", "s")
    assert World().check(made) == "token algorithm"


def test_attack_signed_by_others() -> None:
    """Attack: another key under our key's name; a key that is not for signatures; another kind."""
    world = World()
    assert world.check(token(OTHER, "RS256", "r")) == "token signature"
    assert world.check(token(OTHER, "RS256", "for-encryption")) == "token key unknown"
    assert world.check(token(RSA, "RS256", "e")) == "token algorithm"
    assert world.check(token(RSA, "RS256", None)) == "token key unknown"
    tampered = token().split(".")
    tampered[1] = token(email="root").split(".")[1]
    assert world.check(".".join(tampered)) == "token signature"


def test_attack_keys_in_the_token() -> None:
    """Attack: a token that brings its own key, or says where to fetch it; both are ignored."""
    for more in ({"jwk": entry(OTHER.public_key(), "r")}, {"jku": "https://evil.example/"}):
        made = jwt.encode(GOOD, OTHER, algorithm="RS256", headers={"kid": "r", **more})
        assert World().check(made) == "token signature"
    made = jwt.encode(GOOD, RSA, algorithm="RS256", headers={"kid": "r", "crit": ["b64"]})
    assert World().check(made) == "token malformed"


@pytest.mark.parametrize("text", ["", "x", "a.b", "a.b.c", ".....", "e30.e30.e30", "bm9u.e30."])
def test_malformed(text: str) -> None:
    """What is no token is refused."""
    assert World().check(text) in ("token malformed", "token algorithm")


def test_keys_are_fetched_once_and_renewed() -> None:
    """At first use, after an hour, and for an unknown key, but then not twice in a minute."""
    world = World()
    for _ in range(3):
        world.check(token())
    assert world.server.fetched == 1
    world.clock.advance(3600)
    world.check(token())
    assert world.server.fetched == 2
    assert world.check(token(OTHER, "RS256", "new")) == "token key unknown"
    assert world.server.fetched == 2  # it was asked a moment ago
    world.clock.advance(RETRY_S)
    world.server.document = {"keys": [*SET["keys"], entry(OTHER.public_key(), "new")]}
    assert world.check(token(OTHER, "RS256", "new")) == "app7@example.org"
    assert world.server.fetched == 3


def test_attack_fetching_in_a_loop() -> None:
    """Attack: a hundred tokens with invented key names make one request."""
    world = World()
    world.check(token())
    world.clock.advance(RETRY_S)
    for number in range(100):
        world.check(token(OTHER, "RS256", f"invented{number}"))
    assert world.server.fetched == 2


def test_old_keys_stay_while_the_server_is_away() -> None:
    """Without any keys nobody can say (454); with old ones they go on."""
    world = World()
    world.server.document = KeysUnusable("away")
    assert world.check(token()) == "unavailable"
    world.server.document = SET
    assert world.check(token()) == "unavailable"  # not asked again at once
    world.clock.advance(RETRY_S)
    assert world.check(token()) == "app7@example.org"
    for broken in (KeysUnusable("away"), {}, {"keys": []}, [], {"keys": [1]}, RuntimeError("x")):
        world.server.document = broken
        world.clock.advance(4000)
        assert world.check(token()) == "app7@example.org"


def test_a_reload_while_the_server_is_away() -> None:
    """Keys from the same place outlive a reload; they are asked for anew at first use."""
    before, after = World(), World()
    before.check(token())
    after.tokens.inherit(before.tokens)
    after.server.document = KeysUnusable("away")
    assert after.check(token()) == "app7@example.org"
    assert after.server.fetched == 1


def test_one_fetch_for_all_who_wait() -> None:
    """Clients that come while keys are fetched wait for the same answer."""
    world = World()
    world.server.wait = Deferred()
    got: list[Any] = []
    for _ in range(5):
        world.ask(token()).addBoth(got.append)
    assert (got, world.server.fetched) == ([], 1)
    world.server.wait.callback(None)
    assert got == ["app7@example.org"] * 5


def test_the_first_who_waits_leaves() -> None:
    """A client that hangs up during the fetch does not take the others with it."""
    world = World()
    world.server.wait = Deferred()
    first, got = world.ask(token()), []
    world.ask(token()).addBoth(got.append)
    first.addErrback(lambda _: None)
    waiting, world.server.wait = world.server.wait, None
    first.cancel()
    assert waiting.called
    assert got == ["app7@example.org"]


def test_a_single_key_without_a_name() -> None:
    """Small servers name neither key nor token."""
    world = World()
    world.server.document = {"keys": [RSAAlgorithm.to_jwk(RSA.public_key(), as_dict=True)]}
    assert world.check(token(key_id=None)) == "app7@example.org"
    assert world.check(token(key_id="whatever")) == "app7@example.org"
    assert world.check(token(OTHER, key_id=None)) == "token signature"


def test_files(tmp_path: Any) -> None:
    """A file of keys; what is none is told in one line."""
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps(SET))
    keys = KeySet(from_file(path), lambda: 0.0)
    got: list[Any] = []
    Deferred.fromCoroutine(Tokens(RULES, keys).login(token())).addBoth(got.append)
    assert got == ["app7@example.org"]
    for document in (b"", b"{}", b"[" * 100_000, b'{"keys": [{"kty": "oct", "k": "eA"}]}', b"\xff"):
        with pytest.raises(KeysUnusable):
            parse(document)
