"""Gets a domain's policy from its policy host (RFC 8461 §3.3).

The certificate of ``mta-sts.DOMAIN`` must verify; a status other than 200, a redirect included,
is a failure, and so is another media type: a server on which users put files must not speak for a
domain.
"""

from collections.abc import Awaitable
from typing import Any, Protocol

from mta.https.fetch import Addresses, Answer, Fetcher, FetchFailed
from mta.mail.security import Result
from mta.sts.policy import LARGEST, Policy, PolicyInvalid, parse
from mta.tls.level import ClientTls

TIMEOUT_S = 60.0


class NoPolicy(Exception):
    """A policy cannot be had; one line, and the word that TLS reports have for it."""

    def __init__(self, text: str, result: Result) -> None:
        super().__init__(text)
        self.result = result


class Fetch(Protocol):
    """What gets policies."""

    def __call__(self, domain: str) -> Awaitable[Policy]:
        """Return the policy of ``domain``; raises ``NoPolicy``."""

    def use(self, tls: ClientTls) -> None:
        """Trust others from now on."""


def host_of(domain: str) -> str:
    """Return the name of the policy host."""
    return f"mta-sts.{domain}"


def url_of(domain: str) -> str:
    """Return where the policy is."""
    return f"https://{host_of(domain)}/.well-known/mta-sts.txt"


class PolicyFetch:
    """Implements ``Fetch`` over HTTPS."""

    def __init__(
        self,
        reactor: Any,
        tls: ClientTls,
        addresses: Addresses,
        *,
        timeout_s: float = TIMEOUT_S,
        port: int | None = None,
    ) -> None:
        """``addresses`` finds the policy host; ``port`` is dialled instead of 443."""
        self._fetcher = Fetcher(
            reactor,
            tls,
            largest=LARGEST,
            timeout_s=timeout_s,
            addresses=addresses,
            port=port,
        )

    def use(self, tls: ClientTls) -> None:
        """Trust others from now on."""
        self._fetcher.tls = tls

    async def __call__(self, domain: str) -> Policy:
        """Return the policy of ``domain``; raises ``NoPolicy``."""
        try:
            answer = await self._fetcher.get(url_of(domain))
        except FetchFailed as error:
            result = Result.STS_FETCH_ERROR if error.result is None else Result.STS_WEBPKI_INVALID
            raise NoPolicy(f"{host_of(domain)}: {error}", result) from error
        return read(domain, answer)


def read(domain: str, answer: Answer) -> Policy:
    """Return the policy in an answer; raises ``NoPolicy``."""
    host = host_of(domain)
    if answer.status != 200:
        raise NoPolicy(f"{host}: HTTP status {answer.status}", Result.STS_FETCH_ERROR)
    kind = answer.content_type.split(";")[0].strip().lower()
    if kind != "text/plain":
        text = f"{host}: its policy comes as {kind[:80] or 'nothing'}, not as text/plain"
        raise NoPolicy(text, Result.STS_FETCH_ERROR)
    try:
        return parse(answer.body)
    except PolicyInvalid as error:
        raise NoPolicy(f"{host}: its policy is no good: {error}", Result.STS_INVALID) from error
