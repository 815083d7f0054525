"""A client that brings mail from outside: neither logged in nor from a trusted network.

What it brings can only be for the organisation itself, and is looked at: is the client on a list
(``mta.dnsbl``), is the mail from whom it says (``mta.verify``).  Submission never comes here, and
where neither is configured there is no ``Stranger`` at all.

Mail for ``postmaster`` is not stopped by a list: that is where those who are listed ask why.
"""

from mta.dnsbl.lists import Listing, Lists, Looking
from mta.inbound.gate import Rulings
from mta.inbound.reception import Reception
from mta.inbound.settings import AuthMode, ListenerSettings
from mta.inbound.verification import Verification
from mta.mail.address import split
from mta.mail.envelope import Origin
from mta.policy.decision import Action
from mta.smtp.replies import Reply
from mta.spool.intake import Remark
from mta.verify.message import Verifier


class Stranger:
    """One such client."""

    def __init__(self, address: str, lists: Lists | None, verifier: Verifier | None) -> None:
        self._address = address
        self._lists = lists
        self._verifier = verifier
        self._looking: Looking | None = None

    def arrive(self) -> None:
        """Begin to look the client up; what is found is waited for when a recipient comes."""
        if self._looking is None and self._lists is not None:
            self._looking = self._lists.look(self._address)

    def listed(self, recipient: str) -> bool:
        """Tell whether ``judge`` has anything to say about mail for ``recipient``."""
        return self._looking is not None and split(recipient)[0].lower() != "postmaster"

    async def judge(self, rulings: Rulings) -> tuple[Reply, str] | None:
        """Obey the lists; return reply and reason of a refusal."""
        assert self._looking is not None
        listings = await self._looking.listings()
        for listing in listings:
            if (refused := _obeyed(listing, rulings)) is not None:
                return refused
        return None

    def message(self, origin: Origin, sender: str, rulings: Rulings) -> Verification | None:
        """Return what verifies a message of the client's."""
        verifier = self._verifier
        if verifier is None or verifier.settings is None:
            return None
        return Verification(verifier, verifier.settings, origin, sender, rulings)


def stranger_of(
    reception: Reception, listener: ListenerSettings, address: str, *, trusted: bool
) -> Stranger | None:
    """Return what looks at a client's mail; None for who is none, or if nothing is configured."""
    lists, verifier = reception.lists, reception.verifier
    if trusted or listener.submission or listener.auth is AuthMode.REQUIRED:
        return None
    verifies = verifier is not None and verifier.settings is not None
    return Stranger(address, lists or None, verifier) if lists or verifies else None


def _obeyed(listing: Listing, rulings: Rulings) -> tuple[Reply, str] | None:
    decision = listing.decision
    refused = rulings.obey(decision)
    if decision.action is Action.ACCEPT:
        remark = Remark("listed", listing.reason, "dnsbl")
        if remark not in rulings.remarks:  # one for each recipient would say no more
            rulings.remarks.append(remark)
    return refused
