"""From which addresses of ours mail goes out, and what is said about its site because of that.

Who knows the routes says the addresses (``SourcesOf``); who knows sites makes one of its own of
what is shaped by source (``mta.delivery.sites``).  Where no address is configured there is one
answer for all, and where none is spoken about nobody is asked.
"""

from collections.abc import Callable

from mta.mail.site import Site
from mta.queue.entry import Entry
from mta.queue.resolving import SiteNames

SourcesOf = Callable[[str, str, str, str], tuple[str, ...]]
"""``(sender, domain, chosen, message id)``: the addresses of ours that it goes out from, one of a
family; "" is whichever the system takes."""

_SYSTEMS = ("",)


class Sources:
    """Knows from where entries go out."""

    def __init__(self, names: SiteNames) -> None:
        self._names = names
        self._of: SourcesOf | None = None
        self.shaped = False  # whether ``site`` has something to say

    def use(self, of: SourcesOf | None, *, shaped: bool) -> None:
        """Ask this from now on; None: no address is configured."""
        self._of = of
        self.shaped = shaped and of is not None

    @property
    def configured(self) -> bool:
        """Whether there are any but the system's."""
        return self._of is not None

    def of(self, entry: Entry) -> tuple[str, ...]:
        """Return the addresses that ``entry`` goes out from, one of a family."""
        if self._of is None:
            return _SYSTEMS
        envelope, first = entry.job.envelope, entry.job.recipients[0]
        return self._of(envelope.sender, first.domain, first.route, envelope.id)

    def site(self, entry: Entry) -> Site:
        """Return the site of ``entry``, whose destination is known, for mail from its addresses."""
        return self._names.sourced(entry.destination, self.of(entry))
