"""Who is at the other end of a connection: the client that counts, and who stands between.

Limits, trusted networks, the policy and ``Received:`` know the client's address; the log tells
the proxy's too.
"""

from dataclasses import replace

from twisted.internet.interfaces import IAddress
from zope.interface import implementer

from mta.inbound.settings import ListenerSettings, within
from mta.mail.value import value
from mta.smtp import xclient
from mta.smtp.xclient import XClient


@implementer(IAddress)
@value
class Client:
    """One client, as ``buildProtocol`` takes it."""

    host: str  # IP address; "" if a proxy could not say
    proxy: str = ""  # address of who really connected, if that is somebody else
    known: bool = True  # False: a proxy that does not say for whom.  Nobody, then, is trusted
    host_name: str = ""  # what DNS calls it, if a proxy has said so

    def trusted(self, listener: ListenerSettings) -> bool:
        """Tell whether it comes from a network that ``listener`` trusts."""
        return self.known and listener.trusts(self.host)

    def may_introduce(self, listener: ListenerSettings) -> bool:
        """Tell whether it may say with XCLIENT that it is somebody else."""
        return self.known and bool(listener.xclient) and within(self.host, listener.xclient)

    def attributes(self, listener: ListenerSettings) -> tuple[str, ...]:
        """Return what it may say with XCLIENT; as a rule nothing."""
        if not self.may_introduce(listener):
            return ()
        return (*xclient.NAMES, xclient.LOGIN) if listener.xclient_login else xclient.NAMES

    def introduced(self, said: XClient) -> "Client":
        """Return who it is after XCLIENT; what was not said stays."""
        changed = replace(self, proxy=self.proxy or self.host)
        if said.address is not None:
            changed = replace(changed, host=said.address, known=bool(said.address), host_name="")
        if said.host_name is not None:
            changed = replace(changed, host_name=said.host_name)
        return changed


def client_of(address: object) -> Client:
    """Return the client for an address of Twisted's."""
    if isinstance(address, Client):
        return address
    return Client(str(getattr(address, "host", "")))
