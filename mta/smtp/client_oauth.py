"""The client's side of logging in by token, without I/O: OAUTHBEARER (RFC 7628) and XOAUTH2.

Both show a bearer token (RFC 6750), once, in the first message.  A server that refuses it says why
in a challenge, and has its 535 ready for when that is answered: with ^A by the RFC, with nothing
by XOAUTH2.

SECURITY.  Whoever sees a token can use it until it expires, and the server proves nothing.
Trusts: that TLS is on and the certificate good, which the caller has seen to.
"""

from collections.abc import Callable, Collection

from mta.smtp.client_sasl import Exchange, NoMechanism, Untrusted

# The better one first: it says which server the token is shown to
BEARER_MECHANISMS = ("OAUTHBEARER", "XOAUTH2")


class _Bearer:
    """What the two have in common."""

    name: str
    _after_refusal: bytes

    def __init__(self, message: bytes) -> None:
        self._message = message
        self._refused = False

    def begin(self) -> bytes:
        """Return the only message that says anything."""
        return self._message

    def respond(self, challenge: bytes) -> bytes:
        """Answer the reason of a refusal, so that the refusal itself can come."""
        if self._refused:
            raise Untrusted(f"the server goes on after its last message of {self.name}")
        self._refused = True
        return self._after_refusal

    def finish(self) -> None:
        """The server proves nothing; it must not have refused, though."""
        if self._refused:
            raise Untrusted("the server lets us in after it has refused our token")


class OAuthBearer(_Bearer):
    """RFC 7628: a GS2 header and pairs of key and value."""

    name = "OAUTHBEARER"
    _after_refusal = b"\x01"  # §3.2.3

    def __init__(self, login: str, token: str, host: str, port: int) -> None:
        """``host`` and ``port`` are what was connected to (§3.1)."""
        name = login.replace("=", "=3D").replace(",", "=2C")
        pairs = (f"host={host}", f"port={port}", f"auth=Bearer {token}")
        super().__init__("\x01".join((f"n,a={name},", *pairs, "", "")).encode())


class XOAuth2(_Bearer):
    """The older form, which Google and Microsoft have; never standardised."""

    name = "XOAUTH2"
    _after_refusal = b""

    def __init__(self, login: str, token: str, host: str, port: int) -> None:
        """Host and port are not said."""
        super().__init__(f"user={login}\x01auth=Bearer {token}\x01\x01".encode())


_MADE: dict[str, Callable[[str, str, str, int], Exchange]] = {
    "OAUTHBEARER": OAuthBearer,
    "XOAUTH2": XOAuth2,
}


def choose_bearer(offered: Collection[str], permitted: Collection[str]) -> str:
    """Return the mechanism to use.  ``permitted``: none given means both.

    Raises ``NoMechanism``.
    """
    usable = [one for one in BEARER_MECHANISMS if not permitted or one in permitted]
    for name in usable:
        if name in offered:
            return name
    has = " ".join(sorted(offered)) or "none"
    raise NoMechanism(f"no common mechanism; usable: {' '.join(usable)}; the server has: {has}")


def bearer(name: str, login: str, token: str, host: str, port: int) -> Exchange:
    """Return an exchange by the mechanism ``name``."""
    return _MADE[name](login, token, host, port)
