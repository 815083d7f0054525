"""The tables of ``[[shaping]]``, in the configuration and in a file of providers."""

from collections.abc import Iterator
from typing import Any, Literal

from pydantic import Field, StrictBool, StrictInt

from mta.config.section import Conflict, Section
from mta.config.values import DomainPattern, Duration, Name, NetworkValue, SitePattern

LIMITS = (
    "connections",
    "messages_per_connection",
    "messages_per_second",
    "messages_per_minute",
    "messages_per_hour",
    "recipients_per_transaction",
    "idle",
    "tls_minimum",
)


def _limit(description: str) -> Any:
    return Field(None, ge=1, description=description)


class ShapingEntry(Section):
    """Limits for some destinations.  The most specific entry wins, value by value: by domain before
    by site before by mx, with sources before without, and your own before the providers' file
    (docs/shaping.rst)."""

    name: Name = Field(description="What listings call it.", examples=["partner"])
    domains: tuple[DomainPattern, ...] = Field(
        (),
        description='Of recipients: "example.org", ".example.org" (the names below it), "*".',
    )
    sites: tuple[SitePattern, ...] = Field(
        (),
        description='Names of sites, as "mta queue sites" and the log have them; a smarthost is'
        ' "smarthost:ROUTE".',
    )
    mx: tuple[DomainPattern, ...] = Field(
        (), description="Names of mail exchangers; all of a site's have to be among them."
    )
    sources: tuple[NetworkValue, ...] = Field(
        (),
        description="Addresses of ours, or networks, that mail goes out from (delivery.source,"
        " or source of a route).  Each address has its limits for itself.",
        examples=[["192.0.2.5", "2001:db8:25::/64"]],
    )
    one_site: StrictBool = Field(
        False, description="All sites with these mail exchangers are one, under this name."
    )
    connections: StrictInt | None = _limit("Deliveries at the same time.")
    messages_per_connection: StrictInt | None = _limit("Then a connection is closed.")
    messages_per_second: StrictInt | None = _limit("Deliveries begun, in any second.")
    messages_per_minute: StrictInt | None = _limit("The same for a minute.")
    messages_per_hour: StrictInt | None = _limit("The same for an hour.")
    recipients_per_transaction: StrictInt | None = _limit("Of one message.")
    idle: Duration | None = Field(None, description="How long a connection waits for more mail.")
    tls_minimum: Literal["TLSv1.2", "TLSv1.3"] | None = Field(
        None, description="Nothing is sent without TLS of this version, or a newer one."
    )

    def conflicts(self) -> Iterator[Conflict]:
        """Yield an entry that says nothing, and one site of nobody."""
        if not self.one_site and all(getattr(self, limit) is None for limit in LIMITS):
            yield Conflict(("name",), "this entry needs a limit, or one_site", LIMITS)
        if self.one_site and not self.mx:
            yield Conflict(("one_site",), "needs mx", ("mx",))
        if self.one_site and (self.domains or self.sites or self.sources):
            yield Conflict(("one_site",), "is by mx alone", ("domains", "sites", "sources"))


class ProvidersFile(Section):
    """A file of providers: ``[[shaping]]`` and nothing else."""

    shaping: tuple[ShapingEntry, ...] = ()
