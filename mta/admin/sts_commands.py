"""``mta sts``: the policies of MTA-STS (RFC 8461), as the service has them and as they are now.

What is shown comes from the spool, which all processes share; ``show`` also asks the DNS for the
record and the mail exchangers, and ``refresh`` fetches the policy as the service would.
"""

from typing import TYPE_CHECKING, Any

import click

from mta.admin.exits import Exit
from mta.admin.invocation import Invocation, pass_invocation
from mta.admin.render import Column, json_line, moment, note, say, table, visible
from mta.mail.address import ascii_domain
from mta.spool import sts as spool
from mta.spool.sts import Stored

if TYPE_CHECKING:
    from mta.sts.policy import Policy

_COLUMNS = (
    Column("DOMAIN", style="bold"),
    Column("MODE"),
    Column("FETCHED"),
    Column("UNTIL"),
    Column("LAST FAILURE"),
)
_json = click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")


@click.group()
def sts() -> None:
    """Look at what domains promise about TLS (MTA-STS)."""


@sts.command("list")
@_json
@pass_invocation
def list_(invocation: Invocation, as_json: bool) -> Exit:
    """List the policies that are kept, and what could not be fetched."""
    with invocation.reading() as conn:
        found = spool.everything(conn)
    if not found:
        note("no policy is kept")
        return Exit.NOTHING
    now_ms = invocation.now_ms()
    if as_json:
        for one in found:
            json_line(_json_of(one, now_ms))
        return Exit.DONE
    table(_COLUMNS, [_cells(one, now_ms, invocation) for one in found])
    return Exit.DONE


@sts.command()
@click.argument("domain")
@_json
@pass_invocation
def show(invocation: Invocation, domain: str, as_json: bool) -> Exit:
    """Show the policy of DOMAIN, and what it says of each of its mail exchangers."""
    from mta.admin.sts_asking import published  # noqa: PLC0415 - brings the reactor along

    domain = _domain(domain)
    with invocation.reading() as conn:
        stored = spool.get(conn, domain) or Stored(domain)
    seen = published(invocation.settings, domain)
    policy, now_ms = _policy(stored, now_ms=invocation.now_ms()), invocation.now_ms()
    hosts = {host: _verdict(policy, host) for host in seen.hosts}
    if as_json:
        told = {"record": seen.record, "hosts": hosts, "dns": seen.trouble}
        json_line(_json_of(stored, now_ms) | told)
    else:
        _say_policy(stored, policy, invocation)
        say(f"TXT record: {visible(seen.record)}")
        for host, verdict in hosts.items():
            say(f"  {visible(host)}: {verdict}")
        if seen.trouble:
            note(visible(seen.trouble))
    return Exit.DONE if policy is not None else Exit.NOTHING


@sts.command()
@click.argument("domain")
@pass_invocation
def refresh(invocation: Invocation, domain: str) -> Exit:
    """Fetch the policy of DOMAIN now; a running service follows it within ten minutes."""
    from mta.admin.sts_asking import fetched  # noqa: PLC0415 - brings the reactor along
    from mta.sts.policies import to_store  # noqa: PLC0415

    domain = _domain(domain)
    found = fetched(invocation.settings, domain)
    now_ms = invocation.now_ms()
    with invocation.writing() as conn:
        before = spool.get(conn, domain) or Stored(domain)
        if found.policy is None:
            if found.result:
                spool.failed(conn, domain, found.result, found.trouble, now_ms)
        else:
            used_ms = before.used_ms
            spool.keep(conn, to_store(found.policy, domain, found.id, now_ms, used_ms=used_ms))
        after = spool.get(conn, domain) or before
    if found.policy is None:
        note(f"nothing was fetched: {visible(found.trouble)}")
    _say_policy(after, _policy(after, now_ms=now_ms), invocation)
    return Exit.DONE if found.policy is not None else Exit.NOTHING


def _domain(text: str) -> str:
    try:
        return ascii_domain(text.removesuffix("."))
    except ValueError as error:
        raise click.UsageError(f"{text}: {error}.") from error


def _policy(stored: Stored, *, now_ms: int) -> "Policy | None":
    """Return the policy that is in force."""
    from mta.sts.policy import kept  # noqa: PLC0415

    return kept(stored.lines) if stored.in_force(now_ms) else None


def _verdict(policy: "Policy | None", host: str) -> str:
    """Say what the policy means for a host."""
    if policy is None or policy.mode == "none":
        return "no policy: TLS where it works"
    named = policy.names(host)
    if policy.mode == "enforce":
        return "its certificate must verify" if named else "not named: no mail goes there"
    return "observed" if named else "observed: not named, and would get no mail"


def _say_policy(stored: Stored, policy: "Policy | None", invocation: Invocation) -> None:
    zone, name = invocation.zone, visible(stored.domain)
    if not stored.lines:
        say(f"{name}: no policy was ever fetched")
    else:
        state = "in force until" if policy is not None else "ended"
        fetched = f"fetched {moment(stored.fetched_ms, zone)}, id {stored.id}"
        say(f"{name}: {fetched}, {state} {moment(stored.expires_ms, zone)}")
        for line in stored.lines:
            say(f"  {line}")
    if stored.failed_ms:
        say(f"last fetch failed {moment(stored.failed_ms, zone)}: {visible(stored.failure)}")


def _mode(one: Stored, now_ms: int) -> str:
    if not one.lines:
        return "-"
    mode = next(line.partition(": ")[2] for line in one.lines if line.startswith("mode: "))
    return mode if one.in_force(now_ms) else f"({mode})"


def _cells(one: Stored, now_ms: int, invocation: Invocation) -> tuple[str, ...]:
    times = (moment(ms, invocation.zone) if ms else "-" for ms in (one.fetched_ms, one.expires_ms))
    return visible(one.domain), _mode(one, now_ms), *times, visible(one.failure) or "-"


def _json_of(one: Stored, now_ms: int) -> dict[str, Any]:
    return {
        "domain": one.domain,
        "id": one.id,
        "policy": list(one.lines),
        "in_force": one.in_force(now_ms),
        "fetched_ms": one.fetched_ms,
        "expires_ms": one.expires_ms,
        "used_ms": one.used_ms,
        "failed_ms": one.failed_ms,
        "result": one.result,
        "failure": one.failure,
    }
