"""Turn ``[[shaping]]`` and the providers' file into what ``mta.shaping`` takes."""

from collections.abc import Iterator
from importlib.resources import files
from ipaddress import ip_address
from pathlib import Path

from mta.config.build_smarthosts import paces
from mta.config.settings import Settings
from mta.config.shaping_sections import ProvidersFile, ShapingEntry
from mta.config.toml_file import checked, read_toml
from mta.mail.shape import Shape
from mta.shaping.rules import Rule, Shaping

SHIPPED = Path(str(files("mta.shaping"))) / "providers.toml"


def shaping(settings: Settings) -> Shaping:
    """Return all entries; ``ConfigError`` if the providers' file cannot be used."""
    own = tuple(_rule(one, provided=False) for one in settings.shaping)
    own += tuple(paces(settings))
    return Shaping(own + providers(settings.delivery.shaping_file))


def providers(file: str | Path) -> tuple[Rule, ...]:
    """Return the entries of a file; "shipped" is the one that comes with the program."""
    if file == "none":
        return ()
    path = SHIPPED if file == "shipped" else Path(file)
    found = checked(ProvidersFile, read_toml(path, "delivery.shaping_file"), path)
    return tuple(_rule(one, provided=True) for one in found.shaping)


def _rule(one: ShapingEntry, *, provided: bool) -> Rule:
    shape = Shape(
        connections=one.connections,
        messages_per_second=one.messages_per_second,
        messages_per_minute=one.messages_per_minute,
        messages_per_hour=one.messages_per_hour,
        messages_per_connection=one.messages_per_connection,
        recipients_per_transaction=one.recipients_per_transaction,
        idle_s=None if one.idle is None else one.idle.total_seconds(),
        tls_minimum=one.tls_minimum or "",
    )
    return Rule(
        one.name, shape, one.domains, one.sites, one.mx, one.one_site, provided, one.sources
    )


def nobodys(settings: Settings) -> Iterator[str]:
    """Yield the entries about addresses that no mail goes out from."""
    used = {*settings.delivery.source}.union(*(route.source for route in settings.route))
    addresses = [ip_address(one) for one in used]
    for entry in settings.shaping:
        for network in entry.sources:
            if not any(address in network for address in addresses):
                where = f'shaping["{entry.name}"].sources'
                yield f"{where}: no mail goes out from {network} (delivery.source, route.source)"
