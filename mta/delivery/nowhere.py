"""What needs no delivery: mail that a route discards or refuses, and aliases."""

from collections.abc import Sequence

from mta.delivery.routes import Refuse, Route
from mta.mail.envelope import Recipient, Role
from mta.mail.outcome import Blame, Outcome, Verdict

_EXPANDED = {
    Role.EXPANDED: "passed on to the addresses that it stands for",
    Role.LIST: "given to the mailing list, which reports to its owner from here on",
}


def discarded(route: Route, recipients: Sequence[Recipient]) -> list[Outcome]:
    """Say that they have arrived nowhere."""
    text = f"discarded by route {route.name}"
    return [
        Outcome(recipient.number, Verdict.DELIVERED, 0, "2.0.0", text, "route")
        for recipient in recipients
    ]


def missing(route: Route, recipients: Sequence[Recipient]) -> list[Outcome]:
    """Say that the route is not there."""
    text = f"route {route.name}, which an operator chose, is not in the configuration"
    return [
        Outcome(recipient.number, Verdict.DEFERRED, 0, "4.3.5", text, "route")
        for recipient in recipients
    ]


def refused(refuse: Refuse, recipients: Sequence[Recipient]) -> list[Outcome]:
    """Say what the route says."""
    return [
        Outcome(
            recipient.number,
            Verdict.FAILED,
            refuse.code,
            refuse.enhanced,
            refuse.text,
            "route",
            Blame.RECIPIENT,
        )
        for recipient in recipients
    ]


def expanded(recipients: Sequence[Recipient]) -> list[Outcome]:
    """Say of aliases that they have been expanded: that was done when the message came."""
    return [
        Outcome(one.number, Verdict.DELIVERED, 250, "2.1.5", _EXPANDED[one.role], "alias")
        for one in recipients
    ]
