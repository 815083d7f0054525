"""``mta dkim``: the keys that mail is signed with (RFC 6376), and their records in DNS.

Private keys never leave their files; what is shown is public.
"""

from typing import TYPE_CHECKING, Any

import click

from mta.admin.exits import Exit, Failure
from mta.admin.invocation import Invocation, pass_invocation
from mta.admin.render import Column, json_line, note, say, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mta.dkim.keys import Key

_COLUMNS = (
    Column("DOMAIN", style="bold"),
    Column("SELECTOR"),
    Column("TYPE"),
    Column("STATE"),
    Column("SINCE"),
)
_RELOAD = "A running service signs with it after a reload (SIGHUP, systemctl reload mta)."


@click.group()
def dkim() -> None:
    """Manage the keys that mail is signed with."""


@dkim.command()
@click.argument("domain")
@click.option("--selector", metavar="NAME", help="Name of the key in DNS.  [default: today's date]")
@click.option(
    "--type",
    "kind",
    type=click.Choice(["rsa", "ed25519", "both"]),
    default="both",
    show_default=True,
    help="Not every receiver knows Ed25519: it is best beside RSA.",
)
@click.option(
    "--owner", metavar="USER", help="Give the keys to USER, whom the service will run as (root)."
)
@pass_invocation
def generate(
    invocation: Invocation, domain: str, selector: str | None, kind: str, owner: str | None
) -> None:
    """Make the first key of DOMAIN, and print the DNS record to publish.

    Publish the record, then reload the service.  A key serves the subdomains of DOMAIN too.
    Keys that follow it will belong to whom it belongs to.
    """
    from mta.admin import dkim_keys  # noqa: PLC0415 - brings cryptography along
    from mta.dkim.keys import Algorithm  # noqa: PLC0415

    algorithms = [one for one in Algorithm if kind in ("both", one.key_type)]
    directory = invocation.settings.dkim.directory
    made = dkim_keys.generate(directory, domain, selector, algorithms, invocation.now_ms())
    if owner is not None:
        dkim_keys.give(directory, made, owner)
    _tell(invocation, made)
    note(f"Publish this first.  {_RELOAD}")


@dkim.command("list")
@click.argument("domain", required=False)
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each key.")
@pass_invocation
def list_(invocation: Invocation, domain: str | None, as_json: bool) -> Exit:
    """List the keys, of DOMAIN or of all; exit status 1 if there are none."""
    from mta.admin import dkim_keys  # noqa: PLC0415

    directory = invocation.settings.dkim.directory
    keys = dkim_keys.all_keys(directory, invocation.now_ms(), domain)
    if as_json:
        for key in keys:
            json_line(_object(key))
    elif keys:
        table(_COLUMNS, map(_row, keys))
    return Exit.DONE if keys else Exit.NOTHING


@dkim.command()
@click.argument("domain")
@click.option("--selector", metavar="NAME", help="Name of the new key.  [default: today's date]")
@click.option("--activate", is_flag=True, help="Sign with the next key from now on.")
@pass_invocation
def rotate(invocation: Invocation, domain: str, selector: str | None, activate: bool) -> None:
    """Replace the keys of DOMAIN, in two steps.

    The first makes a next key for each active one and prints its DNS record; nothing is
    signed with it yet.  When the record is published, --activate makes it the active one, or
    the service does by itself after dkim.activate_after, if that is set.
    """
    from mta.admin import dkim_keys  # noqa: PLC0415

    settings = invocation.settings.dkim
    if activate and selector is not None:
        raise click.UsageError("--selector names a new key; --activate makes none.")
    if activate:
        risen, gone = dkim_keys.activate(settings.directory, domain, invocation.now_ms())
        for key in (*risen, *gone):
            say(f"{key.state.value:<8} {key.record_name}")
        note(_RELOAD)
        note("Leave the retired record in DNS until mail signed with it has arrived: a week.")
        return
    made = dkim_keys.prepare(
        settings.directory, domain, selector, settings.activate_after, invocation.now_ms()
    )
    _tell(invocation, made)
    if made[0].active_from is None:
        note(f"Publish this, then: mta dkim rotate {domain} --activate")
    else:
        note(f"Publish this and reload the service now; active from {_at(made[0].active_from)}.")


@dkim.command()
@click.argument("domain")
@click.option("--check", is_flag=True, help="Compare with what DNS has; exit status 1 if it fails.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each record.")
@pass_invocation
def dns(invocation: Invocation, domain: str, check: bool, as_json: bool) -> Exit:
    """Print the DNS records of DOMAIN's keys, as a zone file has them."""
    from mta.admin import dkim_keys  # noqa: PLC0415

    directory = invocation.settings.dkim.directory
    keys = dkim_keys.all_keys(directory, invocation.now_ms(), domain)
    if not keys:
        raise Failure(Exit.NOTHING, f"{domain} has no key: 'mta dkim generate {domain}' makes one")
    if check:
        return _check(invocation, keys, as_json)
    _tell(invocation, keys, as_json)
    return Exit.DONE


def _check(invocation: Invocation, keys: "Sequence[Key]", as_json: bool) -> Exit:
    """Ask DNS and say what is there."""
    from mta.admin.asking import ask  # noqa: PLC0415 - brings the reactor along
    from mta.admin.dkim_keys import differences  # noqa: PLC0415

    found = ask(invocation.settings, lambda lookup: differences(keys, lookup))
    for key, wrong in found:
        if as_json:
            json_line({**_object(key), "problem": wrong})
        else:
            say(f"wrong {key.record_name}: {wrong}" if wrong else f"right {key.record_name}")
    return Exit.NOTHING if any(wrong for _, wrong in found) else Exit.DONE


def _tell(invocation: Invocation, keys: "Sequence[Key]", as_json: bool = False) -> None:
    from mta.admin.dkim_keys import zone_lines  # noqa: PLC0415

    for key in keys:
        if as_json:
            json_line(_object(key))
        else:
            for line in zone_lines(key):
                say(line)


def _row(key: "Key") -> tuple[str, ...]:
    begin = key.created if key.active_from is None else key.active_from
    kind = f"{key.algorithm.key_type} {key.bits}"
    return key.domain, key.selector, kind, key.state.value, "" if begin is None else _at(begin)


def _object(key: "Key") -> dict[str, Any]:
    from mta.dkim.keys import strings  # noqa: PLC0415

    return {
        "domain": key.domain,
        "selector": key.selector,
        "type": key.algorithm.key_type,
        "bits": key.bits,
        "state": key.state.value,
        "created": None if key.created is None else _at(key.created),
        "active_from": None if key.active_from is None else _at(key.active_from),
        "name": key.record_name,
        "record": key.record,
        "strings": strings(key.record),
    }


def _at(moment: Any) -> str:
    return str(moment.strftime("%Y-%m-%dT%H:%M:%SZ"))
