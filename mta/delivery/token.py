"""Access tokens for logging in at smarthosts, from an OAuth2 token endpoint (RFC 6749).

By two grants: client_credentials (§4.4), and refresh_token (§6) where there is one, in a file.
A token is kept in memory and renewed when four fifths of its time are over; one request is under
way at a time, and whoever needs a token meanwhile waits for that one.  When the endpoint
fails, it is left alone for a moment.

A new refresh token in an answer takes the place of the old one, here and in its file
(``token_file``), which several processes may share.  If the file cannot be written, the new one
lives in this process alone, and that is said.

SECURITY.  The request goes by HTTPS to the configured place, whose certificate must verify;
redirects are not followed.  Of an answer nothing is passed on that repeats a secret.  Trusts:
the endpoint.  Does not do: OpenID, assertions as credentials, asking a person.
"""

import json
import os
import re
from base64 import b64encode
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias
from urllib.parse import quote, quote_plus, urlencode

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime

from mta.delivery.token_file import FileTrouble, RefreshFile
from mta.mail.events import Emit, Note
from mta.tls.reasons import printable

LARGEST = 32 * 1024  # octets of an answer
TIMEOUT_S = 20.0
RETRY_S = 15.0  # the endpoint is left alone after a failure
_RENEWED = 0.8  # of its time
_UNSAID_S = 300.0  # how long a token is used whose time is not said
_LONGEST_S = 86_400.0
# RFC 6750 §2.1; in base64 it has to fit in one line of AUTH (RFC 4954 §4)
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]{1,8000}=*")
_ABOUT = 200  # characters of what the endpoint says about an error


class NoToken(Exception):
    """There is no token to be had now; one line, without secrets."""


@dataclass(frozen=True, slots=True)
class OAuth:
    """Where tokens for one smarthost come from."""

    token_url: str
    client_id: str
    client_secret: str = field(default="", repr=False)
    refresh_token_file: Path | None = None  # None: by client_credentials
    scope: str = ""
    client_auth: Literal["basic", "body"] = "basic"  # how the secret is shown (§2.3.1)


class Answered(Protocol):
    """What the endpoint has said; ``mta.https.fetch.Answer``."""

    @property
    def status(self) -> int:
        """The status of HTTP."""

    @property
    def body(self) -> bytes:
        """What was said."""


# URL, form and Authorization ("": none); raises ``NoToken``
Ask: TypeAlias = Callable[[str, bytes, str], Awaitable[Answered]]


class TokenSource:
    """The tokens of one ``OAuth``."""

    def __init__(self, oauth: OAuth, ask: Ask, clock: IReactorTime, emit: Emit) -> None:
        """``clock`` is a monotonic one."""
        self._oauth = oauth
        self._ask = ask
        self._seconds = clock.seconds
        self._emit = emit
        self._token = ""
        self._renew_s = self._expires_s = 0.0
        self._failed: tuple[float, str] | None = None  # until when, and why
        self._request: Deferred[None] | None = None
        self._waiting: list[Deferred[None]] = []
        path = oauth.refresh_token_file
        self._file = None if path is None else RefreshFile(path, clock)

    async def token(self) -> str:
        """Return a token that is good as far as is known; raises ``NoToken``."""
        if self._token and self._seconds() < self._renew_s:
            return self._token
        try:
            await self._renewed()
        except NoToken:
            if not self._token or self._seconds() >= self._expires_s:
                raise
        return self._token

    def drop(self, token: str) -> None:
        """Forget ``token``, which was refused, unless there is another one already."""
        if token == self._token:
            self._token = ""

    def stop(self) -> None:
        """End the request that is under way."""
        if self._request is not None:
            self._request.cancel()

    async def _renewed(self) -> None:
        """Wait until there is a new token; of those who wait, each may be cancelled by itself."""
        if self._failed is not None and self._seconds() < self._failed[0]:
            raise NoToken(self._failed[1])
        turn: Deferred[None] = Deferred()
        self._waiting.append(turn)
        if self._request is None:
            request = self._request = Deferred.fromCoroutine(self._fetch())
            request.addBoth(self._done)
        await turn

    def _done(self, result: Any) -> None:
        self._request = None
        waiting, self._waiting = self._waiting, []
        for turn in waiting:
            if not turn.called:
                turn.callback(None) if result is None else turn.errback(result)

    async def _fetch(self) -> None:
        try:
            await self._fetch_in_turn()
        except CancelledError:
            raise NoToken("no token: this process stops") from None
        except Exception as error:
            known = isinstance(error, NoToken | FileTrouble)
            why = str(error) if known else type(error).__name__
            why = f"no token from {self._oauth.token_url}: {why}"
            self._failed = (self._seconds() + RETRY_S, why)
            raise NoToken(why) from None  # the cause may quote secrets
        self._failed = None

    async def _fetch_in_turn(self) -> None:
        """Ask the endpoint; nobody else shows the refresh token meanwhile."""
        lock = None if self._file is None else await self._file.lock()
        try:
            form, authorization = self._form()
            answer = await self._ask(self._oauth.token_url, form, authorization)
            self._take(self._parsed(answer))
        finally:
            if lock is not None:
                os.close(lock)

    def _form(self) -> tuple[bytes, str]:
        oauth = self._oauth
        fields = {"grant_type": "client_credentials"}
        if self._file is not None:
            fields = {"grant_type": "refresh_token", "refresh_token": self._file.read()}
        if oauth.scope:
            fields["scope"] = oauth.scope
        if oauth.client_secret and oauth.client_auth == "basic":
            pair = f"{quote_plus(oauth.client_id)}:{quote_plus(oauth.client_secret)}"
            return urlencode(fields).encode(), f"Basic {b64encode(pair.encode()).decode()}"
        fields["client_id"] = oauth.client_id
        if oauth.client_secret:
            fields["client_secret"] = oauth.client_secret
        return urlencode(fields).encode(), ""

    def _parsed(self, answer: Answered) -> dict[str, Any]:
        try:
            said = json.loads(answer.body)
        except (ValueError, RecursionError):
            said = None
        if answer.status != 200:
            raise NoToken(self._words(answer.status, said))
        if not isinstance(said, dict):
            raise NoToken("the answer is not JSON, or no object of it")
        return said

    def _words(self, status: int, said: object) -> str:
        """Say what the endpoint says about a refusal (§5.2), unless it repeats a secret."""
        parts = [f"HTTP status {status}"]
        if isinstance(said, dict):
            for key in ("error", "error_description"):
                value = said.get(key)
                if isinstance(value, str) and value:
                    parts.append(printable(value[:_ABOUT]))
        text = ": ".join(parts)
        whole = " ".join(map(str, said.values())) if isinstance(said, dict) else ""
        refresh = "" if self._file is None else self._file.token
        secrets = {self._oauth.client_secret, refresh, self._token} - {""}
        forms = {form for one in secrets for form in (one, quote(one), quote_plus(one))}
        if any(form in whole for form in forms):
            return f"HTTP status {status}: (text withheld: it repeats a secret)"
        return text

    def _take(self, said: dict[str, Any]) -> None:
        token, kind = said.get("access_token"), said.get("token_type")
        if not isinstance(token, str) or not _TOKEN.fullmatch(token):
            raise NoToken("the answer has no access_token that can be sent")
        if not isinstance(kind, str) or kind.lower() != "bearer":
            raise NoToken("the token is not a bearer token (token_type)")
        lives_s = _lives_s(said.get("expires_in"))
        now_s = self._seconds()
        self._token = token
        self._expires_s, self._renew_s = now_s + lives_s, now_s + lives_s * _RENEWED
        newer = said.get("refresh_token")
        if self._file is None or not isinstance(newer, str):
            return
        if newer.strip() and newer.strip() != self._file.token:
            self._keep(self._file, newer.strip())

    def _keep(self, file: RefreshFile, token: str) -> None:
        """Write the new refresh token down."""
        try:
            file.keep(token)
        except OSError as error:
            text = f"{file.path}: the new refresh token cannot be written ({error.strerror})"
            gone = "it is in this process alone, and lost when that ends"
            self._emit(Note("warning", "delivery", f"{text}: {gone}"))


def _lives_s(said: object) -> float:
    """Return how long a token may be used; some write the number as text."""
    if isinstance(said, str) and re.fullmatch(r"[0-9]{1,9}", said):
        said = int(said)
    if said is None:
        return _UNSAID_S
    if isinstance(said, bool) or not isinstance(said, int | float) or not said > 0:
        raise NoToken("the token has expired already, or expires_in is no number")
    return min(float(said), _LONGEST_S)


class Tokens:
    """The sources of all smarthosts; equal settings share one."""

    def __init__(self, reactor: Any, tls: Callable[[], Any], emit: Emit) -> None:
        """``tls`` gives the ``ClientTls`` in force, which says what authorities are trusted."""
        self._reactor = reactor
        self._tls = tls
        self._emit = emit
        self._sources: dict[OAuth, TokenSource] = {}

    def of(self, oauth: OAuth) -> TokenSource:
        """Return the source of tokens by ``oauth``."""
        source = self._sources.get(oauth)
        if source is None:
            clock = self._reactor
            source = self._sources[oauth] = TokenSource(oauth, self._ask, clock, self._emit)
        return source

    def keep(self, wanted: set[OAuth]) -> None:
        """Forget all others; a request of theirs that is under way comes to its end."""
        for gone in self._sources.keys() - wanted:
            del self._sources[gone]

    def stop(self) -> None:
        """End requests that are under way."""
        for source in self._sources.values():
            source.stop()

    async def _ask(self, url: str, form: bytes, authorization: str) -> Answered:
        from mta.https.fetch import Fetcher, FetchFailed  # noqa: PLC0415 - only where it is used

        fetcher = Fetcher(self._reactor, self._tls(), largest=LARGEST, timeout_s=TIMEOUT_S)
        try:
            return await fetcher.submit(url, form, authorization)
        except FetchFailed as error:
            raise NoToken(str(error)) from None
