"""The mechanisms of AUTH: which there are, which one connection is offered, and its exchange.

A mechanism is offered where it can succeed: -PLUS where the connection has a channel binding,
EXTERNAL where the client has shown a certificate.  What is not offered is not known.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from types import MappingProxyType
from typing import Protocol

from mta.smtp import sasl
from mta.smtp.commands import CommandError
from mta.smtp.replies import Reply, reply
from mta.smtp.sasl import (
    Attempt,
    Binding,
    Challenge,
    Exchange,
    KeysWanted,
    StoredKeys,
    Surroundings,
    Verdict,
)
from mta.smtp.sasl_oauth import OAuthBearer, XOAuth2
from mta.smtp.sasl_scram import Scram

# In the order in which they are offered: the strongest first.
MECHANISMS: Mapping[str, Callable[[Surroundings], Exchange]] = MappingProxyType(
    {
        "EXTERNAL": lambda _: sasl.ExternalExchange(),
        "SCRAM-SHA-256-PLUS": partial(Scram, "SCRAM-SHA-256-PLUS", "sha256"),
        "SCRAM-SHA-256": partial(Scram, "SCRAM-SHA-256", "sha256"),
        "SCRAM-SHA-1-PLUS": partial(Scram, "SCRAM-SHA-1-PLUS", "sha1"),
        "SCRAM-SHA-1": partial(Scram, "SCRAM-SHA-1", "sha1"),
        "OAUTHBEARER": lambda _: OAuthBearer(),
        "XOAUTH2": lambda _: XOAuth2(),
        "PLAIN": lambda _: sasl.Plain(),
        "LOGIN": lambda _: sasl.Login(),
    }
)

PASSWORDS = ("PLAIN", "LOGIN")


class Session(Protocol):
    """What is needed of ``Server``."""

    authenticated: bool
    secure: bool
    extended: bool  # it began with EHLO


@dataclass(frozen=True, slots=True)
class Turn:
    """What comes next of an exchange: something is said, or ``asked`` of others.

    A 334 lets it go on; anything else that is said ends it.  ``fault``: for the client's form.
    """

    said: Reply | None = None
    asked: Attempt | KeysWanted | None = None
    fault: bool = False


class Authentication:
    """AUTH in one session."""

    def __init__(self, allowed: tuple[str, ...]) -> None:
        """``allowed`` are the listener's mechanisms."""
        self._allowed = allowed
        self._binding: Binding | None = None
        self._certificate = False
        self._exchange: Exchange | None = None

    @property
    def offered(self) -> tuple[str, ...]:
        """The mechanisms that can succeed on this connection."""
        return _possible(self._allowed, self._binding is not None, self._certificate)

    def secured(self, binding: Binding | None, *, certificate: bool) -> None:
        """TLS has begun; say what came with it."""
        self._binding, self._certificate = binding, certificate

    def permit(self, session: "Session") -> None:
        """Raise ``CommandError`` where AUTH is not possible (RFC 4954 §4)."""
        if session.authenticated:
            raise CommandError(reply(503, "5.5.1", "You are authenticated already"))
        if not self._allowed:
            raise CommandError(reply(502, "5.5.1", "AUTH is not offered here"))
        if not session.secure:
            raise CommandError(
                reply(538, "5.7.11", "Encryption is required for authentication; use TLS")
            )
        if not session.extended:
            raise CommandError(reply(503, "5.5.1", "Send EHLO first"))

    def begin(self, argument: str) -> Turn:
        """Begin with what stands after AUTH.  Raises ``CommandError``."""
        name, _, initial = argument.strip(" ").partition(" ")
        name = name.upper()
        if name not in self.offered:
            known = " or ".join(self.offered) or "none at all"
            raise CommandError(reply(504, "5.5.4", f"The mechanism must be {known}"))
        plus = any(one.endswith("-PLUS") for one in self.offered)
        self._exchange = MECHANISMS[name](Surroundings(self._binding, plus))
        return self._turn(sasl.decode_initial, initial or None)

    def respond(self, line: str) -> Turn:
        """Go on with a line of the client's."""
        return self._turn(sasl.decode, line)

    def supply(self, keys: StoredKeys) -> Turn:
        """Go on after ``KeysWanted``."""
        return _challenge(self._running().supply(keys))

    def denied(self, answer: Reply) -> Turn | None:
        """Return what is said before a refusal, if the mechanism wants something said."""
        challenge = self._running().denied(answer)
        return None if challenge is None else _challenge(challenge)

    def _turn(self, decode: Callable[[str], bytes], text: str | None) -> Turn:
        try:
            step = self._running().step(None if text is None else decode(text))
        except sasl.SaslError as error:
            return Turn(reply(501, error.enhanced, str(error)), fault=True)
        if isinstance(step, Challenge):
            return _challenge(step)
        return Turn(step.reply) if isinstance(step, Verdict) else Turn(asked=step)

    def end(self) -> None:
        """Forget the exchange."""
        self._exchange = None

    def _running(self) -> Exchange:
        assert self._exchange is not None
        return self._exchange


def _challenge(challenge: Challenge) -> Turn:
    return Turn(reply(334, "", sasl.encode(challenge)))


@lru_cache
def _possible(allowed: tuple[str, ...], binding: bool, certificate: bool) -> tuple[str, ...]:
    return tuple(
        name
        for name in allowed
        if (binding or not name.endswith("-PLUS")) and (certificate or name != "EXTERNAL")
    )
