"""What shaping says about connections, put into the settings of one attempt.

The queue keeps to what is said about connections and rates; here it is messages for each
connection, recipients for each transaction, idle time, and the oldest version of TLS.  It is
found anew from the hosts that the attempt goes to, so that it holds whatever the queue knew.
"""

from collections.abc import Sequence
from dataclasses import replace

from mta.delivery.routes import Route, destination_of
from mta.delivery.settings import DeliverySettings
from mta.dns.mx import MailHost
from mta.mail.security import Level, Requirement, Skip, Source
from mta.mail.shape import ANY_SHAPE, Shape
from mta.mail.site import alone, site_of


def shape_of(
    settings: DeliverySettings, hosts: Sequence[MailHost], domain: str, route: Route
) -> Shape:
    """Return what is said about ``hosts``, to which ``route`` leads.

    ``domain`` is "" where the route leads to a host and not to mail exchangers.
    """
    if not settings.shaping.rules:
        return ANY_SHAPE
    if not domain or domain.startswith("["):
        key = destination_of(route, domain)
        site = alone(key, domain or key)
    else:
        site = site_of((host.preference, host.name) for host in hosts)
    return settings.shaping.site(site, domain).shape


class Shapes:
    """What shapes have made of settings, once for each."""

    def __init__(self) -> None:
        self._made: dict[Shape, tuple[DeliverySettings, DeliverySettings]] = {}

    def settings(self, settings: DeliverySettings, shape: Shape) -> DeliverySettings:
        """Return ``settings`` with what ``shape`` says."""
        if not shape.names:
            return settings
        of, made = self._made.get(shape, (None, settings))
        if of is not settings:
            made = _with_shape(settings, shape)
            self._made[shape] = (settings, made)
        return made


def _with_shape(settings: DeliverySettings, shape: Shape) -> DeliverySettings:
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
