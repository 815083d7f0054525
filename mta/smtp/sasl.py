"""The server's side of SASL: PLAIN (RFC 4616) and LOGIN, without I/O (RFC 4954 §4).

An exchange is fed decoded responses and gives back either a challenge or, at its end,
what the client claims.  Whether the claim is true is not decided here.

Trusts: that TLS is on; both mechanisms show the password.  ``Claim`` never shows it in
its representation.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol, TypeAlias


class SaslError(Exception):
    """The exchange has failed for its form; the message is for the client."""


class Cancelled(SaslError):
    """The client has sent ``*``."""


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


Step: TypeAlias = Challenge | Claim


class Exchange(Protocol):
    """One run of a mechanism."""

    def step(self, response: bytes | None) -> Step:
        """Go on with a response; None begins without an initial one.  Raises ``SaslError``."""


class Plain:
    """``[authzid] NUL authcid NUL passwd`` in one response."""

    def step(self, response: bytes | None) -> Step:
        """Go on."""
        if response is None:
            return Challenge(b"")
        parts = response.split(b"\0")
        if len(parts) != 3:
            raise SaslError("PLAIN wants: authorization NUL login NUL password")
        authorization, login, password = (_text(part) for part in parts)
        if authorization not in ("", login):
            raise SaslError("To act for another account is not possible here")
        return _claim("PLAIN", login, password)


class Login:
    """Two prompts; never standardised, and what several clients still choose first."""

    def __init__(self) -> None:
        self._login: str | None = None

    def step(self, response: bytes | None) -> Step:
        """Go on; an initial response is the login."""
        if response is None:
            return Challenge(b"Username:")
        if self._login is None:
            self._login = _text(response)
            return Challenge(b"Password:")
        return _claim("LOGIN", self._login, _text(response))


MECHANISMS: Mapping[str, type[Plain] | type[Login]] = MappingProxyType(
    {"PLAIN": Plain, "LOGIN": Login}
)


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


def _text(octets: bytes) -> str:
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        raise SaslError("Login and password must be UTF-8") from None


def _claim(mechanism: str, login: str, password: str) -> Claim:
    if not login or not password:  # an empty password is "anonymous" to some back-ends
        raise SaslError("Login and password must not be empty")
    return Claim(mechanism, login, password)
