"""``mta queue reroute``: send what waits by another route than the configuration would choose.

The choice is kept with each recipient, whatever the configuration says later; a route that is no
longer there lets the mail wait.
"""

from functools import partial

import click

from mta.admin.exits import Exit
from mta.admin.filters import Chosen, filters
from mta.admin.invocation import Invocation, pass_invocation
from mta.admin.queue_verbs import Consent, Verb, carry_out, consent
from mta.spool import operate
from mta.spool.schema import WAITING

_DEFAULT = "default"  # to the mail exchangers: what no route of the configuration matches


def known_route(invocation: Invocation, route: str | None) -> None:
    """Refuse the name of a route that is not there; None is none."""
    known = [*(one.name for one in invocation.settings.route), _DEFAULT]
    if route is not None and route not in known:
        raise click.UsageError(f"There is no route {route!r}; there are: {', '.join(known)}.")


@click.command()
@filters
@consent
@click.option(
    "--route", metavar="NAME", help="A [[route]] of the configuration, or 'default' (MX)."
)
@click.option("--clear", is_flag=True, help="Go back to what the configuration says.")
@pass_invocation
def reroute(
    invocation: Invocation,
    *,
    chosen: Chosen,
    everything: bool,
    yes: bool,
    dry_run: bool,
    route: str | None,
    clear: bool,
) -> Exit:
    """Send waiting recipients by the route NAME from now on, beginning now.

    Held ones stay held.
    """
    if (route is None) is not clear:
        raise click.UsageError("Say either --route NAME or --clear.")
    known_route(invocation, route)
    step = partial(operate.reroute, route=route or "")
    verb = Verb("reroute", "rerouted", WAITING, step, "", "the others go there already")
    return carry_out(invocation, verb, chosen, Consent(everything, yes, dry_run))
