"""Turn the tables of routes that end in mailboxes here into what ``mta.delivery`` takes."""

from mta.config.route_sections import Route
from mta.delivery.routes import Lmtp, Maildir


def mailboxes(route: Route) -> Lmtp | Maildir | None:
    """Return where ``route`` leads, if that is a mailbox."""
    if (one := route.maildir) is not None:
        return Maildir(one.path, one.create, one.delimiter)
    if (lmtp := route.lmtp) is None:
        return None
    if lmtp.socket is not None:
        return Lmtp(str(lmtp.socket), 0)
    assert lmtp.host is not None
    assert lmtp.port is not None
    return Lmtp(lmtp.host, lmtp.port, lmtp.tls)
