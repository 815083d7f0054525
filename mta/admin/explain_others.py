"""What ``mta explain`` says of those who have a say beside us: filters, and lists of clients.

Without ``--filters`` nobody is asked, for a filter may count what it sees, and it is said who would
be; with it they are, and what they answer is part of the rehearsed session.
"""

from collections.abc import Iterator

from mta.admin.rehearsing import Explanation
from mta.dnsbl.zone import client
from mta.milter.settings import WhenAway
from mta.policy.decision import Action

_AWAY = {
    WhenAway.TEMPFAIL: "refused for now",
    WhenAway.ACCEPT: "let through",
    WhenAway.HOLD: "held",
}
_LISTED = {
    Action.REFUSE: "refused",
    Action.HOLD: "held",
    Action.ACCEPT: "marked as listed",
}
_NOT_ASKED = "not asked here (--filters)"


def asked(found: Explanation) -> Iterator[tuple[str, str]]:
    """Yield who has a say, and whether it has been asked: a word, and what is to be said."""
    for one in found.lists:
        yield "list", f"{one.zone}: {_looked_up(found, _LISTED.get(one.action, 'marked'))}"
    for filter_ in found.filters:
        how = _NOT_ASKED
        if found.question.filters:
            how = "asked, with a message made up: what it says of another one is not known"
        away = f"mail is {_AWAY[filter_.when_away]} while it cannot be reached"
        yield "filter", f"{filter_.name} at {filter_.endpoint}: {how}; {away}"


def _looked_up(found: Explanation, then: str) -> str:
    """Say whether the client was looked up in a list."""
    address = found.by.client
    if client(address) is None:
        return f"no client is named that could be looked up (--client); if listed, mail is {then}"
    how = "is looked up" if found.question.filters else "is not looked up here (--filters)"
    return f"{address} {how}; if it is listed, mail is {then}"
