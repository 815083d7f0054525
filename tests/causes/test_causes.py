"""Replies as servers write them come to the right cause; patterns cannot be made slow."""

import re
from pathlib import Path
from time import perf_counter

import pytest

from mta.causes.pattern import MOST_TEXT, Pattern
from mta.causes.rules import Facts, Rule, Rules
from mta.config.build_causes import shipped
from mta.mail.cause import Cause, sentence
from mta.mail.outcome import Outcome, Peer, Verdict

_REPLY = re.compile(r"(\d+)(?: ([245]\.\d+\.\d+))? (.*)")


def table() -> list[tuple[str, Facts]]:
    """Read the table of replies."""
    lines = (Path(__file__).parent / "replies.txt").read_text().splitlines()
    rows = []
    for line in lines:
        if line and not line.startswith("#"):
            cause, host, stage, reply = (part.strip(" ") for part in line.split("|", 3))
            match = _REPLY.fullmatch(reply)
            assert match is not None, reply
            code, enhanced, text = match.groups()
            host, stage = ("" if one == "-" else one for one in (host, stage))
            rows.append((cause, Facts(int(code), enhanced or "", text, stage, host)))
    return rows


@pytest.mark.parametrize(("cause", "facts"), table(), ids=lambda it: str(it)[:60])
def test_a_reply_has_its_cause(cause: str, facts: Facts) -> None:
    """The shipped rules say of each reply in the table what it means."""
    found = Rules(shipped()).find(facts)
    assert (found.cause, found.rule) == (cause, found.rule)


def test_the_table_has_an_example_of_nearly_every_cause() -> None:
    """No cause is on the list that nothing leads to."""
    assert {cause for cause, _ in table()} == {str(one) for one in Cause}


def test_each_cause_has_words_for_the_sender() -> None:
    """A report explains each cause but "other", and does not stumble over a word from elsewhere."""
    assert {one for one in Cause if not sentence(one)} == {Cause.OTHER}
    assert sentence("of-another-release") == sentence("") == ""


def test_the_first_rule_that_fits_decides() -> None:
    """Rules are asked in their order, so an operator's stand before the shipped ones."""
    own = Rule("own", Cause.POLICY, (Pattern("user unknown"),), hosts=(".example.com",))
    rules = Rules((own, *shipped()))
    facts = Facts(550, "5.1.1", "User unknown", "RCPT", "mx.example.com")
    assert rules.find(facts).rule == "own"
    assert rules.find(Facts(550, "5.1.1", "User unknown", "RCPT", "mx.example.net")).rule != "own"


def test_a_host_that_only_ends_alike_is_not_meant() -> None:
    """.example.com is no rule for evil-example.com."""
    own = Rule("own", Cause.POLICY, hosts=(".example.com",))
    assert not own.fits(Facts(550, "", "no", "RCPT", "evil-example.com"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "(a+)+b",
        "a*b",
        r"(a)\1",
        "(?=a)b",
        "(?i)a",
        "(ab){2,9}",
        "x.*",
        "(.*a)b",
        "[",
        "(a",
        "a)",
    ],
)
def test_what_could_be_slow_or_is_broken_is_no_pattern(text: str) -> None:
    """Endless repetition, references back and looking around are refused."""
    with pytest.raises(ValueError):
        Pattern(text)


def test_too_many_ways_through_a_pattern_are_refused() -> None:
    """Optional parts multiply: what has thousands of readings is no pattern."""
    with pytest.raises(ValueError, match="ways"):
        Pattern("a?" * 20 + "a" * 20)


def test_pieces_are_found_one_after_the_other() -> None:
    """ ".*" spans any text, in this order only."""
    pattern = Pattern("server busy.*try again")
    assert pattern.found_in("451 Server BUSY now, please Try Again")
    assert not pattern.found_in("try again, server busy")


@pytest.mark.parametrize("words", ["user ", "mailbox x", "a", "spam ip blocked ", "\\", "(((", "é"])
def test_a_hostile_reply_costs_no_more_than_others(words: str) -> None:
    """A reply that repeats what patterns begin with is judged in some milliseconds (ReDoS)."""
    rules = Rules(shipped())
    outcome = Outcome(0, Verdict.FAILED, 550, "5.7.1", words * 100_000, "RCPT", peer=Peer("MX"))
    facts = Facts.of(outcome)
    assert len(facts.text) == MOST_TEXT and facts.host == "mx"
    began = perf_counter()
    rules.find(facts)
    assert perf_counter() - began < 2.0  # it takes about 20 ms; the bound is for a busy machine
