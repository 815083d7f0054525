"""The TLS connection under a transport, and what ties a session to it: channel bindings.

Trusts: that the handshake is complete.
"""

from functools import partial
from typing import Any

from OpenSSL import SSL

from mta.smtp.sasl import Binding

_EXPORTER = b"EXPORTER-Channel-Binding"  # RFC 9266 §4.2
_EXPORTED = 32  # octets


def connection_of(transport: object) -> SSL.Connection | None:
    """Return the OpenSSL connection of what Twisted gave a protocol, None in the clear."""
    if isinstance(transport, SSL.Connection):
        return transport
    handle: Any = getattr(transport, "getHandle", lambda: None)()
    return handle if isinstance(handle, SSL.Connection) else None


def channel_binding(transport: object, *, client: bool = False) -> Binding | None:
    """Return what ties an exchange to the TLS connection on ``transport``, after its handshake.

    TLS 1.3: tls-exporter (RFC 9266).  TLS 1.2: tls-unique, the first Finished message (RFC 5929
    §3): the client's, in a resumed session ours; and there only with an extended master secret
    (RFC 7627), for without it two sessions can be made to have the same one.  ``client``: it is we
    who are the client.
    """
    connection = connection_of(transport)
    if connection is None:
        return None
    version = connection.get_protocol_version_name()
    if version == "TLSv1.3":
        return Binding("tls-exporter", partial(_exported, connection))
    if version != "TLSv1.2":
        return None
    library: Any = vars(SSL)["_lib"]  # pyOpenSSL has no method for these two
    first, second = connection.get_peer_finished, connection.get_finished
    if client:
        first, second = second, first
    if not library.SSL_session_reused(connection._ssl):
        return Binding("tls-unique", partial(_finished, first))
    if library.SSL_get_extms_support(connection._ssl) == 1:
        return Binding("tls-unique", partial(_finished, second))
    return None


def _exported(connection: SSL.Connection) -> bytes:
    return connection.export_keying_material(_EXPORTER, _EXPORTED, b"")


def _finished(message: Any) -> bytes:
    octets = message()
    assert octets
    return bytes(octets)
