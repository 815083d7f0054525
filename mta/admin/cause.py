"""``mta cause``: what a reply means, and which rule says so."""

import re
from typing import Any

import click

from mta.admin.exits import Exit
from mta.admin.invocation import Invocation, pass_invocation
from mta.admin.render import Column, json_line, say, span, table, visible
from mta.causes.pattern import MOST_TEXT
from mta.causes.rules import Action, Facts
from mta.config.build_causes import causes
from mta.mail.cause import Cause, sentence

_REPLY = re.compile(
    r"\s*(?:([0-9]{3})[ -]?)?\s*(?:([245]\.[0-9]{1,3}\.[0-9]{1,3})\s*)?(.*)\Z", re.S
)
_COLUMNS = (Column("CAUSE", style="bold"), Column("RULES", "right"), Column("FOR THE SENDER"))


@click.command()
@click.argument("reply", default="")
@click.option("--host", default="", metavar="HOST", help="Who said it.")
@click.option(
    "--stage", default="RCPT", show_default=True, metavar="COMMAND", help="What it replies to."
)
@click.option("--json", "as_json", is_flag=True, help="JSON objects, one a line.")
@pass_invocation
def cause(invocation: Invocation, reply: str, host: str, stage: str, as_json: bool) -> Exit:
    """Say what REPLY ("550 5.7.1 ...") means and which rule says so; without it, list all causes.

    The rules are those of the configuration.  A REPLY without a code is a finding of our own.  Exit
    status 1 if no rule knows it.
    """
    rules = causes(invocation.settings)
    if not reply:
        counts = {one: sum(rule.cause is one for rule in rules.rules) for one in Cause}
        if as_json:
            for one, count in counts.items():
                json_line({"cause": one.value, "rules": count, "sentence": sentence(one)})
        else:
            table(_COLUMNS, [(one.value, str(n), sentence(one)) for one, n in counts.items()])
        return Exit.DONE
    match = _REPLY.match(reply)
    assert match is not None  # it takes anything
    text = " ".join(match[3].split())[:MOST_TEXT]
    facts = Facts(int(match[1] or 0), match[2] or "", text, stage, host.lower())
    found = rules.find(facts)
    if as_json:
        json_line({"cause": found.cause.value, "rule": found.rule, "action": _action(found.action)})
    else:
        by = f"rule {visible(found.rule)}" if found.rule else "no rule knows it"
        say(f"{found.cause.value} ({by})")
        if words := sentence(found.cause):
            say(f"  the sender reads: {words}")
        if found.action is not None:
            say(f"  what follows: {_words(found.action)}")
    return Exit.DONE if found.rule else Exit.NOTHING


def _words(action: Action) -> str:
    what = "the site is sent less" if action.verb == "slow" else "the site is sent nothing"
    return (
        f"after {action.samples} within {span(int(action.window_s * 1000))} {what} from that source"
        f" address, for {span(int(action.for_s * 1000))} at first"
    )


def _action(action: Action | None) -> dict[str, Any] | None:
    if action is None:
        return None
    return {
        "verb": action.verb,
        "for_s": action.for_s,
        "samples": action.samples,
        "window_s": action.window_s,
    }
