"""Whom a suspension is about: the options that say it, and doubts about what they name.

What is named need not be there: a site is known by its name only when mail has gone to it, and
another host's configuration may have the route or the address.  So nothing is refused for that,
and an operator who has mistyped a name is told.
"""

from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

import click

from mta.admin.invocation import Invocation
from mta.admin.render import visible
from mta.config.problems import ConfigError
from mta.mail.address import ascii_domain
from mta.mail.restraint import Restraint
from mta.spool import accounts, site_states, standing

ONE = "Name one of --route, --site, --domain, --login, --all; or --source, alone or with one."


def whom_options(function: Any) -> Any:
    """Add the options that say whom it is about."""
    for option in (
        click.option("--all", "everything", is_flag=True, help="All mail."),
        click.option("--login", metavar="LOGIN", help="What this account sends."),
        click.option("--domain", metavar="DOMAIN", help="Mail to addresses at DOMAIN."),
        click.option("--source", metavar="IP", help="What goes out from this address of ours."),
        click.option("--site", metavar="SITE", help="A site by its name, as the log has it."),
        click.option("--route", metavar="ROUTE", help="What takes this route."),
    ):
        function = option(function)
    return function


def scope_of(given: dict[str, Any]) -> tuple[str, str, str] | None:
    """Return the scope that is named, its name, and the address of ours, or ""; None: nothing is.

    An address of ours may be named beside a scope, or alone.
    """
    named = [(key, value) for key, value in given.items() if value and key != "source"]
    source = _address(given["source"])
    if len(named) > 1 or (source and given["everything"]):
        raise click.UsageError(ONE)
    if not named:
        return ("source", source, source) if source else None
    scope, name = named[0]
    if scope == "everything":
        return "all", "", ""
    if scope == "site" and not source:
        name, source = _as_shown(name)
    try:
        return scope, ascii_domain(name) if scope == "domain" else name, source
    except ValueError as error:
        raise click.UsageError(f"{error}.") from error


def _address(source: str | None) -> str:
    """Return an IP address as the configuration and the log write it; "" for None."""
    try:
        return "" if source is None else str(ip_address(source))
    except ValueError as error:
        raise click.UsageError(f"{error}.") from error


def _as_shown(name: str) -> tuple[str, str]:
    """Return site and address of what "mta queue sites" calls "SITE from ADDRESS"."""
    site, found, source = name.rpartition(" from ")
    return (site, _address(source)) if found else (name, "")


def doubts(invocation: Invocation, wanted: Restraint) -> Iterator[str]:
    """Yield what a suspension names and nothing here knows."""
    name = visible(wanted.name)
    if wanted.source:
        yield from _of_source(wanted.source, invocation)
    if wanted.scope == "route":
        yield from _of_route(wanted.name, invocation)
    with invocation.reading() as conn:
        if wanted.scope == "login" and accounts.get(conn, wanted.name) is None:
            yield f"there is no account {name}"
        if wanted.scope == "site" and not _known(conn, wanted.name, invocation.now_ms()):
            yield f"no mail has gone to a site {name} of late (mta queue sites, site= in the log)"


def _known(conn: Any, site: str, now_ms: int) -> bool:
    """Tell whether a site has this name, as far as running processes and newest mail tell."""
    said = site_states.everywhere(conn, now_ms)
    if any(site in (one.name, one.key) for node in said for one in node.sites):
        return True
    return bool(standing.lately_at_site(conn, site).verdicts)


def _of_route(name: str, invocation: Invocation) -> Iterator[str]:
    from mta.config.build import visible_routes  # noqa: PLC0415 - the whole of delivery
    from mta.delivery.routes import Missing  # noqa: PLC0415

    try:
        known = visible_routes(invocation.settings).named(name)
    except ConfigError as error:
        yield f"whether there is a route {visible(name)} is not known: {error}"
        return
    if isinstance(known.target, Missing):
        yield f"this configuration has no route {visible(name)}"


def _of_source(source: str, invocation: Invocation) -> Iterator[str]:
    from mta.config.build import visible_routes  # noqa: PLC0415 - the whole of delivery
    from mta.config.build_outgoing import outgoing  # noqa: PLC0415

    try:
        settings = invocation.settings
        every = (outgoing(settings.delivery), *visible_routes(settings).outgoings)
    except ConfigError as error:
        yield f"whether mail goes out from {source} is not known: {error}"
        return
    known = dict.fromkeys(one for it in every for one in (*it.ipv4, *it.ipv6))
    if source not in known:
        has = ", ".join(known) or "none; the system chooses"
        yield f"by this configuration no mail goes out from {source} (source: {has})"
