"""Hold rules: what is accepted and then kept until an operator has looked at it.

A message is held as a whole, for all its recipients, if one of them is what the rule is about.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from mta.policy.decision import Decision, hold
from mta.policy.matching import AddressPattern, Subject, Who, any_address, domain_matches


@dataclass(frozen=True, slots=True)
class HoldRule:
    """All that is given must hold; what is empty holds always."""

    name: str
    who: Who
    senders: tuple[AddressPattern, ...] = ()
    recipient_domains: tuple[str, ...] = ()  # as ``matching.domain_matches`` takes them
    min_size: int = 0  # octets


@dataclass(frozen=True, slots=True)
class Holds:
    """All rules; the first that matches gives its name to the reason."""

    rules: tuple[HoldRule, ...] = ()

    def judge(
        self, subject: Subject, sender: str, domains: Iterable[str], size: int
    ) -> Decision | None:
        """Decide on a whole message; ``domains`` are those of its recipients."""
        for rule in self.rules:
            if (
                size >= rule.min_size
                and rule.who.matches(subject)
                and (not rule.senders or any_address(rule.senders, sender))
                and _to(rule.recipient_domains, domains)
            ):
                return hold(f"hold rule {rule.name}")
        return None


def _to(patterns: tuple[str, ...], domains: Iterable[str]) -> bool:
    if not patterns:
        return True
    return any(domain_matches(pattern, domain) for domain in domains for pattern in patterns)
