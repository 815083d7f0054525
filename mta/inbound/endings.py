"""Why a connection ended, in words for the log."""

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.python.failure import Failure

from mta.smtp.replies import Reply, reply
from mta.tls.reasons import tls_reason


def ending(reason: Failure, *, handshaking: bool) -> str:
    """Say why the transport was lost, where no word of ours had ended it before."""
    if reason.check(ConnectionDone, ConnectionLost) is not None:
        return "TLS: the client left during the handshake" if handshaking else "lost"
    assert reason.value is not None
    return f"TLS: {tls_reason(reason.value)}" if handshaking else f"lost: {reason.value}"


def closing(refusal: Reply) -> Reply:
    """Return a refusal of a connection as what ends it."""
    return refusal if refusal.code == 421 else reply(421, "4.7.0", refusal.text)
