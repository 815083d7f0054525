"""Why TLS failed, in one line that an operator understands.

OpenSSL reports a list of (library, function, reason) triples whose words differ
between its versions; what is known is translated, what is not is passed on.  The
result never holds line breaks or other control characters, although parts of it may
come from the peer.
"""

from OpenSSL import SSL
from twisted.python.failure import Failure

from mta.mail.security import Result

_PLAIN_TEXT = "the peer does not speak TLS here"
_NO_VERSION = "no TLS version in common (at least TLS 1.2 is needed)"

_KNOWN = {
    "wrong version number": _PLAIN_TEXT,
    "packet length too long": _PLAIN_TEXT,
    "bad record type": _PLAIN_TEXT,
    "http request": _PLAIN_TEXT,
    "https proxy request": _PLAIN_TEXT,
    "unsupported protocol": _NO_VERSION,
    "no protocols available": _NO_VERSION,
    "tlsv1 alert protocol version": _NO_VERSION,
    "no shared cipher": "no cipher in common",
    "unexpected eof while reading": "the peer closed the connection during the TLS handshake",
    "tlsv1 alert unknown ca": "the peer does not trust our certificate's authority",
}

_MAX = 300


class VerificationFailed(SSL.Error):
    """A handshake was broken off: the peer did not prove to be who it has to be.

    It is an OpenSSL error so that Twisted ends the handshake with it and hands it to
    the protocol's ``connectionLost``.
    """

    def __init__(self, why: str, result: Result = Result.NOT_TRUSTED) -> None:
        super().__init__([("mta.tls", "", why)])  # the shape that Twisted looks into
        self.why = why
        self.result = result

    def __str__(self) -> str:
        return f"certificate verify failed: {self.why}"


def is_tls_failure(failure: Failure | BaseException | None) -> bool:
    """Whether a connection ended because of TLS itself, not of the network below."""
    error = failure.value if isinstance(failure, Failure) else failure
    return isinstance(error, SSL.Error)


def tls_result(failure: Failure | BaseException | None) -> Result:
    """Return the word that TLS reports have for a handshake that failed (RFC 8460 §4.3)."""
    error = failure.value if isinstance(failure, Failure) else failure
    return error.result if isinstance(error, VerificationFailed) else Result.VALIDATION_FAILURE


def tls_reason(failure: Failure | BaseException) -> str:
    """Say in one line what went wrong; any exception is understood."""
    error = failure.value if isinstance(failure, Failure) else failure
    if error is None:
        return "unknown TLS failure"
    return printable(_words(error)) or type(error).__name__


def printable(text: str) -> str:
    """Return ``text`` on one line, without control characters, of bounded length."""
    line = "".join(char if char.isprintable() else "?" for char in text)
    return line if len(line) <= _MAX else line[: _MAX - 3] + "..."


def _words(error: BaseException) -> str:
    if isinstance(error, VerificationFailed):
        return str(error)
    if isinstance(error, SSL.SysCallError):
        return "the peer closed the connection during the TLS handshake"
    if isinstance(error, SSL.ZeroReturnError):
        return "the peer ended TLS"
    if not isinstance(error, SSL.Error):
        return str(error)
    reasons = _reasons(error)
    for reason in reasons:
        if reason in _KNOWN:
            return _KNOWN[reason]
    return ", ".join(map(_alert, reasons)) or type(error).__name__


def _reasons(error: SSL.Error) -> list[str]:
    """Pick the reasons out of what pyOpenSSL raises, without repetition."""
    queue = error.args[0] if error.args else []
    if not isinstance(queue, list):
        return [str(queue)]
    return list(dict.fromkeys(str(entry[-1]).lower() for entry in queue if entry))


def _alert(reason: str) -> str:
    """An alert is what the peer said; everything else is what we found ourselves."""
    before, alert, what = reason.partition(" alert ")
    if alert and before.startswith(("tls", "ssl")):
        return f"the peer refused the handshake: {what}"
    return reason
