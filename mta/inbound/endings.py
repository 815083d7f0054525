"""Why a connection ended, in words for the log."""

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.python.failure import Failure

from mta.smtp.replies import Reply, reply
from mta.tls.reasons import tls_reason


def ending(reason: Failure, *, handshaking: bool) -> str:
    """Say why the transport was lost, where no word of ours had ended it before."""
    error = reason.value
    assert error is not None
    if isinstance(error, ConnectionDone | ConnectionLost):
        return "TLS: the client left during the handshake" if handshaking else "lost"
    return f"TLS: {tls_reason(error)}" if handshaking else f"lost: {error}"


def closing(refusal: Reply) -> Reply:
    """Return a refusal of a connection as what ends it."""
    return refusal if refusal.code == 421 else reply(421, "4.7.0", refusal.text)
