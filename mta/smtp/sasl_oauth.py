"""OAUTHBEARER (RFC 7628) and XOAUTH2 (Google's and Microsoft's older form of it), without I/O.

The client shows a token; whether it is good is decided elsewhere.  A refusal goes out as JSON
in a 334, and only when the client has answered that, with ``AQ==`` or anything else, follows
the 535 (RFC 7628 §3.2.3).

Trusts: nothing.  Does not do: host and port of the message, which name a server that the
token was not necessarily issued for; its audience is what is checked.
"""

import re
from typing import ClassVar

from mta.smtp.replies import Reply
from mta.smtp.sasl import Bearer, Challenge, Exchange, SaslError, Step, Verdict, text_of

_TOKEN = rb"[Bb][Ee][Aa][Rr][Ee][Rr] +(?P<token>[A-Za-z0-9._~+/-]+=*)"  # RFC 6750 §2.1
_MESSAGE = re.compile(
    rb"[ny],(?:a=(?P<login>(?:[^\x00\x01=,]|=2C|=3D){1,1024}))?,\x01"
    rb"(?P<pairs>(?:[A-Za-z]+=[^\x00\x01]*\x01)+)\x01"
)
_XOAUTH2 = re.compile(rb"user=(?P<login>[^\x00\x01]{1,1024})\x01auth=%b\x01\x01" % _TOKEN)
_AUTH = re.compile(rb"(?:^|\x01)auth=([^\x01]*)")


class OAuth(Exchange):
    """What the two have in common."""

    name: ClassVar[str]
    refusal: ClassVar[bytes]

    def __init__(self) -> None:
        self._verdict: Reply | None = None

    def step(self, response: bytes | None) -> Step:
        """Go on."""
        if self._verdict is not None:
            return Verdict(self._verdict)
        if response is None:
            return Challenge(b"")
        login, token = self._parse(response)
        return Bearer(self.name, login, token.decode("ascii"))

    def denied(self, answer: Reply) -> Challenge | None:
        """Say why, and keep ``answer`` for the client's next turn; not where it may try again."""
        if not answer.permanent:
            return None
        self._verdict = answer
        return Challenge(self.refusal)

    def _parse(self, response: bytes) -> tuple[str, bytes]:
        raise NotImplementedError


class OAuthBearer(OAuth):
    """RFC 7628: a GS2 header and key/value pairs."""

    name = "OAUTHBEARER"
    refusal = b'{"status":"invalid_token"}'

    def _parse(self, response: bytes) -> tuple[str, bytes]:
        match = _MESSAGE.fullmatch(response)
        found = [] if match is None else _AUTH.findall(match["pairs"])
        token = re.fullmatch(_TOKEN, found[0]) if len(found) == 1 else None
        if match is None or token is None:
            raise SaslError("OAUTHBEARER wants a GS2 header and auth=Bearer TOKEN")
        login = (match["login"] or b"").replace(b"=2C", b",").replace(b"=3D", b"=")
        return text_of(login), token["token"]


class XOAuth2(OAuth):
    """``user=LOGIN ^A auth=Bearer TOKEN ^A ^A``."""

    name = "XOAUTH2"
    refusal = b'{"status":"401","schemes":"bearer","scope":""}'

    def _parse(self, response: bytes) -> tuple[str, bytes]:
        match = _XOAUTH2.fullmatch(response)
        if match is None:
            raise SaslError("XOAUTH2 wants: user=LOGIN ^A auth=Bearer TOKEN ^A ^A")
        return text_of(match["login"]), match["token"]
