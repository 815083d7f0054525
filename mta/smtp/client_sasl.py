"""The client's side of SASL without I/O: SCRAM, PLAIN, LOGIN (RFC 4422, RFC 4954).

``choose`` takes the strongest mechanism that the server offers and that is permitted.  An exchange
gives the initial response, answers challenges, and has the last word: ``finish`` is asked when
the server has said 235.

SECURITY.  SCRAM (RFC 5802, RFC 7677) never shows the password, and the server has to prove that it
knows it, too: without its signature, or with a false one, a 235 is somebody's who sits in
between or has stolen the name, and ``Untrusted`` is raised.  With a channel binding (RFC 5929,
RFC 9266) nobody in between can pass the exchange on; where we could have used one and the
server offered none, the ``y`` in our first message lets it find out that somebody took -PLUS off
its list.  The number of iterations is bounded on both sides: too few make guessing easy, too
many would keep this process busy.

Trusts: that TLS is on and the certificate good, which the caller has seen to.  Does not do:
SASLprep of the password, which has been chosen for what is typed as it stands.
"""

import hashlib
import hmac
import re
import secrets
from base64 import b64decode, b64encode
from binascii import Error
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol

from mta.smtp.sasl import Binding

# The strongest first
MECHANISMS = (
    "SCRAM-SHA-256-PLUS",
    "SCRAM-SHA-256",
    "SCRAM-SHA-1-PLUS",
    "SCRAM-SHA-1",
    "PLAIN",
    "LOGIN",
)
LEAST_ITERATIONS = 4096  # RFC 5802 §5.1, RFC 7677 §4
MOST_ITERATIONS = 600_000
_LONGEST = 4096  # octets of a challenge

_FIRST = re.compile(
    rb"r=(?P<nonce>[!-+\--~]{1,512}),s=(?P<salt>[A-Za-z0-9+/]{4,}={0,2}),i=(?P<count>[1-9][0-9]{0,9})"
    rb"(?:,[a-zA-Z]=[^\x00,]+)*"
)
_FINAL = re.compile(rb"v=(?P<signature>[A-Za-z0-9+/]+={0,2})(?:,[a-zA-Z]=[^\x00,]+)*")


class Untrusted(Exception):
    """The server does not keep to the mechanism, or does not prove who it is; one line."""


class NoMechanism(Exception):
    """Nothing that is offered can be used; one line."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who we are."""

    login: str
    password: str = field(repr=False)


class Exchange(Protocol):
    """One run of a mechanism."""

    @property
    def name(self) -> str:
        """The mechanism."""

    def begin(self) -> bytes | None:
        """Return the initial response; None: the server speaks first."""

    def respond(self, challenge: bytes) -> bytes:
        """Answer a challenge; raises ``Untrusted``."""

    def finish(self) -> None:
        """The server has said 235; raises ``Untrusted`` if it has not proved who it is."""


def choose(
    offered: Collection[str],
    permitted: Collection[str],
    credentials: Credentials,
    binding: Binding | None,
    nonce: Callable[[], str] = lambda: secrets.token_urlsafe(24),
) -> Exchange:
    """Return the exchange to have.  ``permitted``: none given means all.

    Raises ``NoMechanism``.
    """
    for name in MECHANISMS:
        plus = name.endswith("-PLUS")
        if name not in offered or (permitted and name not in permitted) or (plus and not binding):
            continue
        if name.startswith("SCRAM"):
            downgraded = binding is not None and not plus
            return Scram(name, credentials, binding if plus else None, downgraded, nonce())
        return _SIMPLE[name](credentials)
    wanted = [one for one in MECHANISMS if not permitted or one in permitted]
    has = " ".join(sorted(offered)) or "none"
    raise NoMechanism(f"no common mechanism; usable: {' '.join(wanted)}; the server has: {has}")


class Scram:
    """RFC 5802."""

    def __init__(
        self,
        name: str,
        credentials: Credentials,
        binding: Binding | None,
        could_bind: bool,
        nonce: str,
    ) -> None:
        """``could_bind``: we know a binding, and the server has not offered -PLUS."""
        self.name = name
        self._hash = "sha256" if "SHA-256" in name else "sha1"
        self._credentials = credentials
        self._nonce = nonce.encode("ascii")
        header = b"y,," if could_bind else b"n,,"
        self._bound = header
        if binding is not None:
            header = b"p=%b,," % binding.type.encode("ascii")
            self._bound = header + binding.data()
        login = credentials.login.replace("=", "=3D").replace(",", "=2C").encode()
        self._bare = b"n=%b,r=%b" % (login, self._nonce)
        self._header = header
        self._signature: bytes | None = None
        self._proved = False

    def begin(self) -> bytes:
        """Return the first message."""
        return self._header + self._bare

    def respond(self, challenge: bytes) -> bytes:
        """Answer the server's first or final message."""
        if len(challenge) > _LONGEST:
            raise Untrusted("a challenge is too long")
        if self._signature is None:
            return self._prove(challenge)
        if self._proved:
            raise Untrusted("the server goes on after its last message")
        match = _FINAL.fullmatch(challenge)
        if match is None:  # e=..., and the 535 is to follow
            return b""
        if not hmac.compare_digest(_decoded(match["signature"]), self._signature):
            raise Untrusted("the server does not know our password: its signature is false")
        self._proved = True
        return b""

    def _prove(self, first: bytes) -> bytes:
        match = _FIRST.fullmatch(first)
        if match is None:
            raise Untrusted("the server's first message is not one of SCRAM")
        nonce, count = match["nonce"], int(match["count"])
        if not nonce.startswith(self._nonce) or len(nonce) == len(self._nonce):
            raise Untrusted("the server's nonce does not continue ours")
        if not LEAST_ITERATIONS <= count <= MOST_ITERATIONS:
            raise Untrusted(f"the server wants {count} iterations")
        salt = _decoded(match["salt"])
        client, server = _keys(self._hash, self._credentials.password, salt, count)
        last = b"c=%b,r=%b" % (b64encode(self._bound), nonce)
        said = b",".join((self._bare, first, last))
        stored = hashlib.new(self._hash, client).digest()
        signature = hmac.digest(stored, said, self._hash)
        proof = bytes(a ^ b for a, b in zip(client, signature, strict=True))
        self._signature = hmac.digest(server, said, self._hash)
        return b"%b,p=%b" % (last, b64encode(proof))

    def finish(self) -> None:
        """See that the server has proved to know the password."""
        if not self._proved:
            raise Untrusted("the server lets us in without having proved that it knows us")


@lru_cache(maxsize=64)
def _keys(hash_name: str, password: str, salt: bytes, count: int) -> tuple[bytes, bytes]:
    """Derive the client's and the server's key, once for each server's salt (RFC 5802 §5.1)."""
    salted = hashlib.pbkdf2_hmac(hash_name, password.encode(), salt, count)
    client = hmac.digest(salted, b"Client Key", hash_name)
    return client, hmac.digest(salted, b"Server Key", hash_name)


def _decoded(value: bytes) -> bytes:
    try:
        return b64decode(value, validate=True)
    except Error:
        raise Untrusted("invalid base64 in the server's message") from None


class Plain:
    """RFC 4616: all in one message, and the server proves nothing."""

    name = "PLAIN"

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    def begin(self) -> bytes:
        """Return login and password."""
        return f"\0{self._credentials.login}\0{self._credentials.password}".encode()

    def respond(self, challenge: bytes) -> bytes:
        """There is nothing to ask."""
        raise Untrusted("the server goes on after the only message of PLAIN")

    def finish(self) -> None:
        """Nothing is to be proved."""


class Login:
    """Two prompts, whatever they say; never standardised."""

    name = "LOGIN"

    def __init__(self, credentials: Credentials) -> None:
        self._answers = [credentials.login.encode(), credentials.password.encode()]

    def begin(self) -> None:
        """Wait for the first prompt."""

    def respond(self, challenge: bytes) -> bytes:
        """Answer a prompt."""
        if not self._answers:
            raise Untrusted("the server asks for more than login and password")
        return self._answers.pop(0)

    def finish(self) -> None:
        """Nothing is to be proved."""


_SIMPLE: dict[str, Callable[[Credentials], Exchange]] = {
    "PLAIN": Plain,
    "LOGIN": Login,
}
