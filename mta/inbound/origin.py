"""What is known of a client, as messages keep it (``mail.envelope.Origin``)."""

from mta.inbound.client import Client
from mta.mail.envelope import Origin
from mta.mail.headers import protocol_keyword
from mta.smtp.server import Server


def origin_of(
    core: Server, client: Client, listener: str, *, login: str, tls: str, utf8: bool
) -> Origin:
    """Return it; ``utf8``: the client sends a message with SMTPUTF8."""
    return Origin(
        listener=listener,
        client_address=client.host,
        client_name=core.client_name,
        login=login,
        protocol=protocol_keyword(
            extended=core.extended,
            secure=core.secure,
            authenticated=bool(login),
            utf8=utf8,
        ),
        tls=tls,
        proxy=client.proxy,
        host_name=client.host_name,
    )
