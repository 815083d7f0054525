"""What an attempt has shown about the site.  Pure."""

from collections.abc import Iterable
from enum import Enum

from mta.mail.outcome import Blame, Outcome, Verdict


class Health(Enum):
    """What an attempt has shown about the site."""

    GOOD = "good"
    BAD = "bad"
    UNKNOWN = "unknown"


def health(outcomes: Iterable[Outcome]) -> Health:
    """Judge the site by the outcomes of one attempt.

    What a site says about a message or a recipient is a sign of health.  A site that refuses
    for good (a 554 greeting) is not slowed down: each of its messages is settled by one attempt,
    and waiting would only delay the report.
    """
    bad = spoke = False
    for outcome in outcomes:
        if outcome.verdict is Verdict.DELIVERED and not outcome.maybe_delivered:
            return Health.GOOD
        bad = bad or (outcome.blame is Blame.SITE and outcome.verdict is not Verdict.FAILED)
        spoke = spoke or outcome.blame in (Blame.MESSAGE, Blame.RECIPIENT)
    if bad:
        return Health.BAD
    return Health.GOOD if spoke else Health.UNKNOWN
