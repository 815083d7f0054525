"""What shaping says about connections, put into the settings of one attempt.

The queue keeps to what is said about connections and rates; here it is messages for each
connection, recipients for each transaction, idle time, and the oldest version of TLS.  It is
found anew from the hosts that the attempt goes to, so that it holds whatever the queue knew.
"""

from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import TypeAlias

from mta.delivery.outgoing import Way
from mta.delivery.routes import Route, destination_of
from mta.delivery.settings import DeliverySettings
from mta.dns.mx import MailHost
from mta.mail.security import Level, Requirement, Skip, Source
from mta.mail.shape import ANY_SHAPE, Shape
from mta.mail.site import alone, site_of

_REMEMBERED = 10_000

Shaped: TypeAlias = tuple[DeliverySettings, Shape]


class Shapes:
    """What shaping makes of settings, remembered for each set of hosts."""

    def __init__(self) -> None:
        self._known: dict[Hashable, tuple[DeliverySettings, Shaped]] = {}

    def of(
        self,
        settings: DeliverySettings,
        hosts: Sequence[MailHost],
        domain: str,
        route: Route,
        way: Way | None = None,
    ) -> Shaped:
        """Return ``settings`` with what is said about ``hosts``, to which ``route`` leads; and it.

        ``domain`` is "" where the route leads to a host and not to mail exchangers.  ``way`` is
        that of the message; it counts where something is said about addresses of ours.
        """
        if not settings.shaping.rules:
            return settings, ANY_SHAPE
        key: tuple[Hashable, ...] = (route.name, domain, tuple(sorted([h.name for h in hosts])))
        sources: tuple[str, ...] = ()
        if way is not None and settings.shaping.by_source:
            sources = tuple(one for one in (way.ipv4, way.ipv6) if one)
            key += sources
        made_of, shaped = self._known.get(key, (None, (settings, ANY_SHAPE)))
        if made_of is not settings:
            shape = _shape(settings, hosts, domain, route, sources)
            shaped = (_with_shape(settings, shape), shape)
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[key] = (settings, shaped)
        return shaped


def _shape(
    settings: DeliverySettings,
    hosts: Sequence[MailHost],
    domain: str,
    route: Route,
    sources: tuple[str, ...],
) -> Shape:
    if not domain or domain.startswith("["):
        key = destination_of(route, domain)
        site = alone(key, domain or key)
    else:
        site = site_of((host.preference, host.name) for host in hosts)
    return settings.shaping.shape(site, domain, sources)


def _with_shape(settings: DeliverySettings, shape: Shape) -> DeliverySettings:
    if not shape.names:
        return settings
    said = {
        "messages_per_connection": shape.messages_per_connection,
        "recipients_per_transaction": shape.recipients_per_transaction,
        "idle_s": shape.idle_s,
    }
    changes = {name: value for name, value in said.items() if value is not None}
    return replace(settings, **changes)  # type: ignore[arg-type]  # each has its own type


def at_least(required: Requirement | Skip, shape: Shape) -> Requirement | Skip:
    """Return ``required`` with TLS of the shape's version insisted on.

    A route that says "never TLS" means it, and so does a message that says TLS-Required: No.
    """
    minimum = shape.tls_minimum
    if not minimum or isinstance(required, Skip):
        return required
    exempt = required.level is Level.NONE or required.source is Source.MESSAGE
    if exempt and required.level in (Level.NONE, Level.MAY):
        return required
    if required.level is Level.MAY:
        return replace(
            required,
            level=Level.ENCRYPT,
            minimum=minimum,
            source=Source.POLICY,
            why=f"shaping {shape.names[0]}",
        )
    return replace(required, minimum=max(required.minimum, minimum))
