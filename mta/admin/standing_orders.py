"""What a configuration orders for one kind of mail, in the values that delivery works by."""

from dataclasses import dataclass, replace
from typing import Any

from mta.admin.explain_words import shape_words, target_words
from mta.config import Settings, build
from mta.config.build_addresses import addresses
from mta.delivery.routes import Mx, Route, destination_of
from mta.delivery.securing import local_of_route
from mta.mail.site import alone, site_of, words_of


@dataclass(frozen=True, slots=True)
class Order:
    """One thing that is ordered: to compare, and to read."""

    value: Any
    words: str


class Orders:
    """All that one configuration orders."""

    def __init__(self, settings: Settings) -> None:
        """Read what delivery reads; ``ConfigError`` if that cannot be."""
        self._delivery = build.delivery_settings(settings, addresses(settings))

    def about(self, sender_domain: str, domain: str, chosen: str, host: str) -> dict[str, Order]:
        """Return what is ordered for such mail; ``host`` was tried last, if any was."""
        sender = f"x@{sender_domain}" if sender_domain else ""
        route = self._delivery.routes.choose(sender, domain, chosen)
        return {
            "route": Order((route.name, route.target), target_words(route)),
            "sender": _sender(route),
            "source": self._source(route),
            "TLS": self._tls(route, domain),
            "shaping": self._shaping(route, domain, host),
        }

    def _source(self, route: Route) -> Order:
        out = route.outgoing or self._delivery.outgoing
        where = " or ".join((*out.ipv4, *out.ipv6)) or "any address"
        name = out.ehlo or self._delivery.host_name
        return Order((out, name), f"{where}, EHLO {name}, {out.prefer} first")

    def _tls(self, route: Route, domain: str) -> Order:
        """Policies by host count with the others: which hosts there are is the DNS's to say."""
        if not isinstance(route.target, Mx):
            return Order(None, "as the route says")
        security = self._delivery.security
        fitting = [one for one in security.policies if replace(one, hosts=()).matches(domain, "")]
        local = local_of_route(route.name, route.target)
        orders = [(one.hosts, one.local) for one in fitting]
        words = [
            f"{one.local.level} by tls_policy {one.local.name}"
            + (f" at {' '.join(one.hosts)}" if one.hosts else "")
            for one in fitting
        ]
        words.append(f"{local.level} by route {route.name}")
        value = (orders, local.level, local.waivable, security.unsigned_mx)
        return Order(value, ", else ".join(words))

    def _shaping(self, route: Route, domain: str, host: str) -> Order:
        if isinstance(route.target, Mx):
            site = site_of([(0, host)]) if host else alone(f"mx:{domain}", domain)
        else:
            key = destination_of(route, domain)
            site, domain = alone(key, key), ""
        shaping, outgoing = self._delivery.shaping, route.outgoing or self._delivery.outgoing
        every = outgoing.all_sources if shaping.by_source else (("",),)
        shapes = {some: shaping.shape(site, domain, tuple(filter(None, some))) for some in every}
        values = {some: replace(shape, names=()) for some, shape in shapes.items()}
        words = {some: "; ".join(shape_words(shape)) or "none" for some, shape in shapes.items()}
        if len(set(values.values())) == 1:
            return Order(values[every[0]], words[every[0]])
        told = (f"from {words_of(some)}: {words[some]}" for some in every)
        return Order(values, ", ".join(told))


def _sender(route: Route) -> Order:
    rewrites, verp = route.rewrite_sender, route.verp
    words = [*(["rewritten"] if rewrites else []), *([f"VERP {verp}"] if verp else [])]
    return Order((rewrites, verp, route.verp_senders), ", ".join(words) or "as it is")
