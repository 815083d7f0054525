"""The keys of an authorization server (RFC 7517): from a file or over HTTPS, kept, renewed.

They are fetched at first use, again when they are old, and when a token names a key that is not
among them; a server that rotates its keys needs no reload here.  Not more often than once in
``RETRY_S``, whatever tokens say, so that nobody makes us ask in a loop.  While a fetch fails
the keys stay in force that came last.

Only public keys for signatures are taken: a symmetric key in a public document would let
everybody sign, and one for encryption says nothing of a signature.

Trusts: the file; the HTTPS server whose certificate verifies.  Bounded: octets and time of an
answer; no redirects.
"""

import json
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import jwt
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

from mta.auth.failures import AuthenticationUnavailable
from mta.tls.level import ClientTls

RETRY_S = 60.0  # between two fetches, failed or not
TIMEOUT_S = 10.0
LARGEST = 256 * 1024  # octets

# What may sign with which kind of key (RFC 7518 §3.1, RFC 8037).
ALGORITHMS: Mapping[str, frozenset[str]] = {
    "RSA": frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}),
    "EC": frozenset({"ES256", "ES384", "ES512"}),
    "OKP": frozenset({"EdDSA"}),
}


class KeysUnusable(Exception):
    """A key set cannot be had or read; one line."""


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """A public key, and what may be signed with it."""

    key: Any
    algorithms: frozenset[str]


Fetch: TypeAlias = Callable[[], Coroutine[Any, Any, bytes]]


class Clock(Protocol):
    """What is needed of a reactor here."""

    def seconds(self) -> float:
        """Time in seconds."""


class KeySet:
    """The keys in force."""

    _log = Logger()

    def __init__(
        self, fetch: Fetch, seconds: Callable[[], float], *, refresh_s: float = 3600.0
    ) -> None:
        self._fetch = fetch
        self._seconds = seconds
        self._refresh_s = refresh_s
        self._keys: Mapping[str, VerificationKey] | None = None
        self._fetched: float | None = None  # when it worked last
        self._tried: float | None = None
        self._waiting: list[Deferred[None]] | None = None  # while a fetch is under way

    def inherit(self, older: "KeySet") -> None:
        """Begin with the keys of ``older``; they are renewed at first use all the same."""
        self._keys = older._keys

    async def key(self, key_id: str) -> VerificationKey | None:
        """Return the key of that name; without one, the only key there is.

        Raises ``AuthenticationUnavailable`` as long as no keys could be had at all.
        """
        if self._old():
            await self._renew()
        if self._chosen(key_id) is None:
            await self._renew()
        if self._keys is None:
            raise AuthenticationUnavailable("the keys of the authorization server cannot be had")
        return self._chosen(key_id)

    def _chosen(self, key_id: str) -> VerificationKey | None:
        keys = self._keys or {}
        if len(keys) == 1 and (not key_id or "" in keys):
            return next(iter(keys.values()))
        return keys.get(key_id)

    def _old(self) -> bool:
        return self._fetched is None or self._seconds() - self._fetched >= self._refresh_s

    async def _renew(self) -> None:
        """Fetch, unless that was tried a moment ago; whoever comes meanwhile waits for it."""
        if self._waiting is not None:
            turn: Deferred[None] = Deferred()
            self._waiting.append(turn)
            await turn
            return
        if self._tried is not None and self._seconds() - self._tried < RETRY_S:
            return
        self._tried = self._seconds()
        self._waiting = []
        try:
            self._keys = parse(await self._fetch())
            self._fetched = self._seconds()
        except CancelledError:
            self._tried = None  # the client has gone: the next one asks
            raise
        except Exception as error:
            what = str(error) if isinstance(error, KeysUnusable) else type(error).__name__
            self._log.warn("authorization server's keys: {what}", what=what)
        finally:
            waiting, self._waiting = self._waiting, None
            for one in waiting or ():
                if not one.called:
                    one.callback(None)


def parse(document: bytes) -> Mapping[str, VerificationKey]:
    """Return the usable keys by their ``kid``.  Raises ``KeysUnusable``."""
    try:
        entries = json.loads(document)["keys"]
        found = {str(entry.get("kid", "")): _usable(entry) for entry in entries}
    except (ValueError, TypeError, AttributeError, LookupError, RecursionError):
        raise KeysUnusable("not a JSON Web Key Set") from None
    usable = {key_id: key for key_id, key in found.items() if key is not None}
    if not usable:
        raise KeysUnusable("no public key for signatures in the JSON Web Key Set")
    return usable


def _usable(entry: Mapping[str, Any]) -> VerificationKey | None:
    """Return the key if it can verify signatures of its server's."""
    allowed = ALGORITHMS.get(entry["kty"])
    if allowed is None or entry.get("use", "sig") != "sig":
        return None
    try:
        key = jwt.PyJWK(dict(entry))
    except jwt.PyJWTError:
        return None
    if "alg" in entry or entry["kty"] != "RSA":  # else the curve says which
        allowed &= {key.algorithm_name}
    return VerificationKey(key.key, allowed)


def read(path: Path) -> bytes:
    """Return what is in a file of keys.  Raises ``KeysUnusable``."""
    try:
        with path.open("rb") as stream:
            document = stream.read(LARGEST + 1)
    except OSError as error:
        raise KeysUnusable(f"{path}: {error.strerror}") from error
    if len(document) > LARGEST:
        raise KeysUnusable(f"{path}: larger than {LARGEST} octets")
    return document


def from_file(path: Path) -> Fetch:
    """Return what reads a key set from ``path``."""

    async def fetch() -> bytes:
        return read(path)

    return fetch


def from_https(reactor: Clock, url: str, tls: ClientTls) -> Fetch:
    """Return what fetches a key set from ``url``; ``tls`` says who is trusted."""
    from mta.https.fetch import Fetcher, FetchFailed  # noqa: PLC0415 - only where it is used

    fetcher = Fetcher(reactor, tls, largest=LARGEST, timeout_s=TIMEOUT_S)

    async def fetch() -> bytes:
        try:
            answer = await fetcher.get(url)
        except FetchFailed as error:
            raise KeysUnusable(f"{url}: {error}") from error
        if answer.status != 200:
            raise KeysUnusable(f"{url}: HTTP status {answer.status}")
        return answer.body

    return fetch
