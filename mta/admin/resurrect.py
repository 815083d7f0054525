"""``mta queue resurrect``: mail that was given up comes back, while its content is kept.

It is tried at once, or held to be looked at first; by its old route, or by one that an operator
names because the old one was the fault.
"""

from functools import partial

import click

from mta.admin.exits import Exit
from mta.admin.filters import Chosen, filters
from mta.admin.invocation import Invocation, pass_invocation
from mta.admin.queue_verbs import Consent, Verb, carry_out, consent
from mta.admin.reroute import known_route
from mta.spool import resurrection
from mta.spool.schema import State

_GIVEN_UP = (State.BOUNCED, State.EXPIRED)


@click.command()
@filters
@consent
@click.option(
    "--hold", "held", is_flag=True, help="Hold them: they are tried when they are released."
)
@click.option(
    "--route",
    metavar="NAME",
    help="By a [[route]] of the configuration, or 'default' (MX), from now on.",
)
@pass_invocation
def resurrect(
    invocation: Invocation,
    *,
    chosen: Chosen,
    everything: bool,
    yes: bool,
    dry_run: bool,
    held: bool,
    route: str | None,
) -> Exit:
    """Queue bounced and expired recipients again, while their content is kept.

    That is spool.returned_retention.  Name them by --state, id or other filters; they get a new
    lifetime.  Reports that were sent stay sent.
    """
    known_route(invocation, route)
    verb = Verb(
        "resurrect",
        "resurrected and held" if held else "resurrected",
        _GIVEN_UP,
        partial(resurrection.resurrect, held=held, route=route or ""),
        "",
        "of the others the content is no longer kept",
        parts=resurrection.slices,
    )
    return carry_out(invocation, verb, chosen, Consent(everything, yes, dry_run))
