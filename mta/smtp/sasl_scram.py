"""SCRAM without I/O: RFC 5802, with SHA-256 RFC 7677, with channel binding RFC 5056 and 9266.

Client first: who it is, and its nonce; we ask for the account's keys (``KeysWanted``), answer
with salt, count and our nonce; the client's proof is checked here; our own signature goes out
as a last challenge, because SMTP's 235 has no room for it (RFC 4954 §4).

SECURITY.  An unknown login comes here with keys that no password makes, and takes the same
steps to the same end.  The whole beginning of the exchange is under the proof, so whoever in
between takes the -PLUS mechanisms off our list is found out by the ``y`` of a client that
could do them (RFC 5802 §6).  The grammar is the standard's; what doesn't match is refused.

Trusts: the keys given; that the binding's octets are this connection's.  Does not do: SASLprep
of the login, which whoever looks it up does.
"""

import base64
import binascii
import hashlib
import hmac
import re

from mta.smtp.sasl import (
    ANOTHER,
    Challenge,
    Disproved,
    Exchange,
    KeysWanted,
    Proved,
    SaslError,
    Step,
    StoredKeys,
    Surroundings,
    text_of,
)

_NAME = rb"(?:[^\x00=,]|=2C|=3D){1,1024}"
_NONCE = rb"[!-+\--~]{1,512}"
_MORE = rb"(?:,[bdfghjkloqt-uw-zA-Z]=[^\x00,]+)*"  # no letter that means something here
_BASE64 = rb"[A-Za-z0-9+/]+={0,2}"

_FIRST = re.compile(
    rb"(?P<header>(?:(?P<flag>[ny])|p=(?P<type>[A-Za-z0-9.-]{1,64})),(?:a=(?P<authzid>%b))?,)"
    rb"(?P<bare>n=(?P<name>%b),r=(?P<nonce>%b)%b)" % (_NAME, _NAME, _NONCE, _MORE)
)
_FINAL = re.compile(
    rb"(?P<bare>c=(?P<binding>%b),r=(?P<nonce>%b)%b),p=(?P<proof>%b)"
    % (_BASE64, _NONCE, _MORE, _BASE64)
)


class Scram(Exchange):
    """One exchange; ``hash_name`` is hashlib's."""

    def __init__(self, name: str, hash_name: str, surroundings: Surroundings) -> None:
        self._name = name
        self._hash = hash_name
        self._plus = name.endswith("-PLUS")
        self._surroundings = surroundings
        self._next = self._first
        self._login = ""
        self._nonce = b""  # the client's, then both
        self._bound = b""  # what the client must send as c=
        self._said = b""  # AuthMessage as far as it is (RFC 5802 §3)
        self._keys = StoredKeys("", b"", 0, b"", b"")

    def step(self, response: bytes | None) -> Step:
        """Go on."""
        return Challenge(b"") if response is None else self._next(response)

    def supply(self, keys: StoredKeys) -> Challenge:
        """Answer the client's first message."""
        self._keys = keys
        self._nonce += self._surroundings.nonce().encode("ascii")
        salt = base64.b64encode(keys.salt)
        first = b"r=%b,s=%b,i=%d" % (self._nonce, salt, keys.iterations)
        self._said += b"," + first
        self._next = self._final
        return Challenge(first)

    def _first(self, response: bytes) -> Step:
        match = _FIRST.fullmatch(response)
        if match is None:
            raise SaslError(f"The first message is not one of {self._name}")
        self._login = _unescaped(match["name"])
        authorization = match["authzid"]
        if authorization is not None and _unescaped(authorization) != self._login:
            raise SaslError(ANOTHER)
        wrong = self._unbound(match["flag"], match["type"])
        if wrong:
            return self._disproved(wrong)
        self._nonce, self._said = match["nonce"], match["bare"]
        self._bound = match["header"]
        if self._plus and self._surroundings.binding is not None:
            self._bound += self._surroundings.binding.data()
        return KeysWanted(self._name, self._login, self._hash)

    def _unbound(self, flag: bytes | None, kind: bytes | None) -> str:
        """Return what is wrong with the channel binding that the client announces."""
        binding = self._surroundings.binding
        if self._plus:
            if kind is None:
                return "no channel binding"
            if binding is None or kind != binding.type.encode("ascii"):
                return "unsupported channel binding"
        elif kind is not None:
            return "channel binding without -PLUS"
        elif flag == b"y" and self._surroundings.plus_offered:
            return "downgrade"
        return ""

    def _final(self, response: bytes) -> Step:
        match = _FINAL.fullmatch(response)
        if match is None:
            raise SaslError(f"The final message is not one of {self._name}")
        if not hmac.compare_digest(match["nonce"], self._nonce):
            return self._disproved("nonce")
        if not hmac.compare_digest(_decoded(match["binding"]), self._bound):
            return self._disproved("channel binding")
        said = self._said + b"," + match["bare"]
        if not self._proves(_decoded(match["proof"]), said):
            return self._disproved("credentials")
        if self._keys.refused:
            return self._disproved(self._keys.refused)
        signature = hmac.digest(self._keys.server_key, said, self._hash)
        self._next = self._acknowledged
        return Challenge(b"v=" + base64.b64encode(signature))

    def _proves(self, proof: bytes, said: bytes) -> bool:
        signature = hmac.digest(self._keys.stored_key, said, self._hash)
        if len(proof) != len(signature):
            return False
        client_key = bytes(a ^ b for a, b in zip(proof, signature, strict=True))
        stored_key = hashlib.new(self._hash, client_key).digest()
        return hmac.compare_digest(stored_key, self._keys.stored_key)

    def _acknowledged(self, response: bytes) -> Step:
        if response:
            raise SaslError("An empty response is due")
        return Proved(self._name, self._keys.login)

    def _disproved(self, reason: str) -> Disproved:
        return Disproved(self._name, self._login, reason)


def _unescaped(name: bytes) -> str:
    """Return a saslname as it is meant (RFC 5802 §5.1)."""
    return text_of(name.replace(b"=2C", b",").replace(b"=3D", b"="))


def _decoded(value: bytes) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except binascii.Error:
        raise SaslError("The final message has invalid base64 in it") from None
