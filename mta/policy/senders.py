"""Sender ownership: which login may use which envelope sender and which ``From:``.

The first rule that is about the client decides; a client that no rule is about may use
what it likes.  Trusts the login, which ``mta.auth`` has proved.  Does not look at
``Sender:`` and ``Resent-From:``, which mail programs show small or not at all.

What spoofers try, and what becomes of it: a second ``From:`` field, several addresses in
one, an address in the display name, a field hidden behind a very long header, one that
cannot be parsed: see ``mail.author``; all are refused where the header is checked.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from mta.mail.address import split
from mta.policy.decision import Action, Decision, refuse
from mta.policy.matching import AddressPattern, Subject, Who, parts

SENDER = "Sender address is not permitted"
AUTHOR = "From address is not permitted"


@dataclass(frozen=True, slots=True)
class SenderRule:
    """What some clients may call themselves.

    In ``addresses`` ``{login}`` stands for the login, and ``{user}`` for what is before its
    ``@``: ``{login}``, ``{user}@example.org``, ``{user}-*@example.org``.
    """

    name: str
    who: Who
    addresses: tuple[str, ...]
    plus: bool = False  # "ann+anything@" is "ann@"
    header: bool = True  # ``From:`` too
    null_sender: bool = True  # MAIL FROM:<> is permitted: receipts are sent so
    rewrite: str = ""  # the address to put in the place of a wrong one; "": refuse

    def permits(self, login: str, address: str) -> bool:
        """Tell whether ``address``, which is not the null sender, belongs to ``login``."""
        local, domain = parts(address)
        if address.startswith('"'):  # who may do without quotes, does; to refuse is no loss
            local = split(address)[0]
        patterns = _patterns(self.addresses, login)
        if any(pattern.matches(local, domain) for pattern in patterns):
            return True
        base = _without_tag(local) if self.plus else ""
        return bool(base) and any(pattern.matches(base, domain) for pattern in patterns)

    def replacement(self, login: str) -> str:
        """Return the address to write in the place of a wrong one, or "" to refuse."""
        return _filled(self.rewrite, login) if self.rewrite else ""


@dataclass(frozen=True, slots=True)
class Senders:
    """All rules, in order."""

    rules: tuple[SenderRule, ...] = ()

    def rule_for(self, subject: Subject) -> SenderRule | None:
        """Return the rule that is about ``subject``.

        Mail from outside comes from other people's addresses: a rule is about it only if it
        names the networks or listeners that it means.
        """
        outside = subject.outside and not subject.login
        return next(
            (
                rule
                for rule in self.rules
                if rule.who.matches(subject) and (rule.who.names_hosts or not outside)
            ),
            None,
        )


def judge_sender(rule: SenderRule, login: str, sender: str) -> Decision | None:
    """Decide on the envelope sender."""
    if rule.null_sender if sender == "" else rule.permits(login, sender):
        return None
    return _wrong(rule, login, f"sender <{sender}>", SENDER)


def judge_authors(
    rule: SenderRule, login: str, fields: int, addresses: Sequence[str] | None
) -> Decision | None:
    """Decide on ``From:``: the addresses in so many fields; None if they cannot be told."""
    if not rule.header:
        return None
    if fields == 0:  # and none could be made: readers show Sender, or what they like, instead
        return refuse(f"sender rule {rule.name}: no From field", 550, "5.7.1", AUTHOR)
    if fields > 1:  # RFC 5322 §3.6: one; readers differ in which of them they show
        return refuse(f"sender rule {rule.name}: {fields} From fields", 550, "5.7.1", AUTHOR)
    if addresses is None:
        return _wrong(rule, login, "From that cannot be read", AUTHOR)
    for address in addresses:
        if not rule.permits(login, address):
            return _wrong(rule, login, f"From <{address}>", AUTHOR)
    return None


def _wrong(rule: SenderRule, login: str, what: str, text: str) -> Decision:
    reason = f"sender rule {rule.name}: {what} is not {login or 'this client'}'s"
    if address := rule.replacement(login):
        return Decision(Action.ACCEPT, f"{reason}, rewritten to <{address}>", rewrite=address)
    return refuse(reason, 550, "5.7.1", text)


def _without_tag(local: str) -> str:
    """Return a local part without ``+tag``; "" if it has none, or is quoted."""
    base, plus, _ = local.partition("+")
    return base if plus and not local.startswith('"') else ""


def _filled(text: str, login: str) -> str:
    user = split(login)[0] if "@" in login else login
    return text.replace("{user}", user).replace("{login}", login)


@lru_cache(maxsize=4096)
def _patterns(addresses: tuple[str, ...], login: str) -> tuple[AddressPattern, ...]:
    """Return the patterns for one login.  One that is not an address, or has ``*``, fills none."""
    patterns = []
    for text in addresses:
        if "{" in text and (not login or "*" in login):
            continue
        filled = _filled(text, login)
        if text == "{login}" and "@" not in login:
            continue
        try:
            patterns.append(AddressPattern.of(filled))
        except ValueError:  # a login that is no domain name
            continue
    return tuple(patterns)
