"""Bearer tokens: is this JWT (RFC 7519) one that our authorization server made for us?

SECURITY.  The algorithm is the key's affair, never the token's: ``none`` and HMAC under a public
key (CVE-2015-9235) are refused before anything is verified (RFC 8725 §3.1).  Issuer, audience and
expiry must be there and right.  A token is never logged, nor in any exception that leaves here.

Trusts: PyJWT and cryptography; the key set.  Does not do: revocation (RFC 7009) and
introspection (RFC 7662): a token is good until it expires, so its issuer must make it short-lived.
"""

from dataclasses import dataclass
from typing import Any

import jwt

from mta.auth.failures import AuthenticationFailed
from mta.auth.jwks import ALGORITHMS, KeySet, VerificationKey

_REASONS = (
    (jwt.ExpiredSignatureError, "token expired"),
    (jwt.ImmatureSignatureError, "token not valid yet"),
    (jwt.InvalidIssuerError, "token issuer"),
    (jwt.InvalidAudienceError, "token audience"),
    (jwt.InvalidSignatureError, "token signature"),
    (jwt.MissingRequiredClaimError, "token incomplete"),
)


@dataclass(frozen=True, slots=True)
class TokenRules:
    """What a token must say."""

    issuer: str
    audience: str
    login_claim: str = "sub"
    leeway_s: float = 30.0  # that clocks may differ


class Tokens:
    """Checks tokens by ``rules`` against ``keys``."""

    def __init__(self, rules: TokenRules, keys: KeySet) -> None:
        self._rules = rules
        self._keys = keys

    def inherit(self, older: "Tokens") -> None:
        """Have the keys of ``older``, which come from the same place, until they are renewed."""
        self._keys.inherit(older._keys)

    async def login(self, token: str) -> str:
        """Return whom the token is about.

        Raises ``AuthenticationFailed`` and ``AuthenticationUnavailable``.
        """
        try:
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError:
            raise AuthenticationFailed("token malformed") from None
        algorithm, key_id = str(header.get("alg")), str(header.get("kid", ""))
        if not any(algorithm in allowed for allowed in ALGORITHMS.values()):
            raise AuthenticationFailed("token algorithm")
        key = await self._keys.key(key_id)
        if key is None:
            raise AuthenticationFailed("token key unknown")
        if algorithm not in key.algorithms:
            raise AuthenticationFailed("token algorithm")
        claims = self._claims(token, key, algorithm)
        login = claims.get(self._rules.login_claim)
        if not isinstance(login, str) or not login:
            raise AuthenticationFailed("token without login")
        return login

    def _claims(self, token: str, key: VerificationKey, algorithm: str) -> dict[str, Any]:
        rules = self._rules
        try:
            return jwt.decode(
                token,
                key.key,
                algorithms=[algorithm],
                issuer=rules.issuer,
                audience=rules.audience,
                leeway=rules.leeway_s,
                options={"require": ["exp", "iss", "aud"]},
            )
        except jwt.PyJWTError as error:
            for kind, reason in _REASONS:
                if isinstance(error, kind):
                    raise AuthenticationFailed(reason) from None
            raise AuthenticationFailed("token malformed") from None
