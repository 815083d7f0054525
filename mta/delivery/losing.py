"""How a connection has ended, as a ``Trouble``: by the peer, the line, or in the TLS handshake."""

from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from mta.delivery.trouble import Kind, Trouble
from mta.smtp.steps import Stage
from mta.tls.reasons import tls_reason, tls_result


def ending(reason: Failure, stage: Stage | str, *, handshaking: bool) -> Trouble:
    """Return what ``connectionLost`` for ``reason`` means at ``stage``."""
    if handshaking:
        text = f"TLS handshake failed: {tls_reason(reason)}"
        return Trouble(Kind.TLS, stage, text, result=tls_result(reason))
    text = f"connection lost: {reason.getErrorMessage().rstrip('.')}"
    if reason.check(ConnectionDone):
        text = "the peer closed the connection"
    return Trouble(Kind.LOST, stage, text)
