"""The server's side of SASL without I/O (RFC 4422, RFC 4954 §4): PLAIN, LOGIN and EXTERNAL.

An exchange is fed decoded responses and gives back a challenge, a question to whoever knows
the accounts, or, at its end, what the client claims.  Whether a password, a token or a
certificate is right is not decided here; SCRAM's proofs are (``sasl_scram``).

Trusts: that TLS is on; PLAIN and LOGIN show the password.  Nothing here shows a password or a
token in its representation.
"""

import base64
import binascii
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from mta.smtp.replies import Reply

ANOTHER = "To act for another account is not possible here"


class SaslError(Exception):
    """The exchange has failed for its form; the message is for the client."""

    enhanced = "5.5.2"


class Cancelled(SaslError):
    """The client has sent ``*``."""

    enhanced = "5.7.0"


@dataclass(frozen=True, slots=True)
class Challenge:
    """What the server says next, not yet in base64."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Claim:
    """Who the client says it is, and its proof."""

    mechanism: str
    login: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Bearer:
    """A token of an authorization server's; ``login`` is "" where the client names nobody."""

    mechanism: str
    login: str
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class External:
    """Whoever the client's certificate belongs to; ``login`` is "" where it names nobody."""

    mechanism: str
    login: str


@dataclass(frozen=True, slots=True)
class KeysWanted:
    """The stored keys of an account are needed to go on: ``Server.supply``."""

    mechanism: str
    login: str  # as the client wrote it
    hash_name: str  # as hashlib has it


@dataclass(frozen=True, slots=True)
class StoredKeys:
    """What is stored of a password (RFC 5802 §3), or stands in for it."""

    login: str  # as the account is called
    salt: bytes = field(repr=False)
    iterations: int
    stored_key: bytes = field(repr=False)
    server_key: bytes = field(repr=False)
    refused: str = ""  # why who proves the password may not log in all the same: "disabled"


@dataclass(frozen=True, slots=True)
class Proved:
    """The client has proved to be the account, and has been proved that we know it."""

    mechanism: str
    login: str


@dataclass(frozen=True, slots=True)
class Disproved:
    """The client has not; ``reason`` is for the log, never for the client."""

    mechanism: str
    login: str
    reason: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """The reply, which was known and had to wait for the client's turn."""

    reply: Reply


Attempt: TypeAlias = Claim | Bearer | External | Proved | Disproved
Step: TypeAlias = Challenge | KeysWanted | Attempt | Verdict


@dataclass(frozen=True, slots=True)
class Binding:
    """What ties an exchange to its TLS connection (RFC 5056)."""

    type: str  # "tls-exporter" or "tls-unique"
    data: Callable[[], bytes] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What an exchange may know of its connection."""

    binding: Binding | None = None
    plus_offered: bool = False  # a mechanism with channel binding was among those offered
    nonce: Callable[[], str] = lambda: secrets.token_urlsafe(24)


class Exchange:
    """One run of a mechanism."""

    def step(self, response: bytes | None) -> Step:
        """Go on with a response; None begins without an initial one.  Raises ``SaslError``."""
        raise NotImplementedError

    def supply(self, keys: StoredKeys) -> Challenge:
        """Go on after ``KeysWanted``."""
        raise NotImplementedError

    def denied(self, answer: Reply) -> Challenge | None:
        """The claim is false: return what is said before ``answer``, if anything is."""
        return None


class Plain(Exchange):
    """``[authzid] NUL authcid NUL passwd`` in one response."""

    def step(self, response: bytes | None) -> Step:
        """Go on."""
        if response is None:
            return Challenge(b"")
        parts = response.split(b"\0")
        if len(parts) != 3:
            raise SaslError("PLAIN wants: authorization NUL login NUL password")
        authorization, login, password = (text_of(part) for part in parts)
        if authorization not in ("", login):
            raise SaslError(ANOTHER)
        return _claim("PLAIN", login, password)


class Login(Exchange):
    """Two prompts; never standardised, and what several clients still choose first."""

    def __init__(self) -> None:
        self._login: str | None = None

    def step(self, response: bytes | None) -> Step:
        """Go on; an initial response is the login."""
        if response is None:
            return Challenge(b"Username:")
        if self._login is None:
            self._login = text_of(response)
            return Challenge(b"Password:")
        return _claim("LOGIN", self._login, text_of(response))


class ExternalExchange(Exchange):
    """The authorization identity, or nothing (RFC 4422 appendix A)."""

    def step(self, response: bytes | None) -> Step:
        """Go on."""
        if response is None:
            return Challenge(b"")
        return External("EXTERNAL", text_of(response))


def decode(line: str) -> bytes:
    """Decode a response line.  Raises ``Cancelled`` for ``*`` and ``SaslError``."""
    if line == "*":
        raise Cancelled("Authentication cancelled")
    try:
        return base64.b64decode(line, validate=True)
    except (binascii.Error, ValueError):
        raise SaslError("The response is not valid base64") from None


def decode_initial(word: str) -> bytes:
    """Decode an initial response; ``=`` is an empty one (RFC 4954 §4)."""
    return b"" if word == "=" else decode(word)


def encode(challenge: Challenge) -> str:
    """Return a challenge as it goes into a 334 reply."""
    return base64.b64encode(challenge.data).decode("ascii")


def text_of(octets: bytes) -> str:
    """Return what is UTF-8; raises ``SaslError``."""
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        raise SaslError("Login and password must be UTF-8") from None


def _claim(mechanism: str, login: str, password: str) -> Claim:
    if not login or not password:  # an empty password is "anonymous" to some back-ends
        raise SaslError("Login and password must not be empty")
    return Claim(mechanism, login, password)
