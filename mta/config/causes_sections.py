"""The tables of a file of causes: which reply means what, and what follows."""

from collections.abc import Iterator
from typing import Any, Literal

from pydantic import Field, StrictBool, StrictInt

from mta.causes.pattern import Pattern
from mta.config.section import Conflict, Section
from mta.config.units import parse_duration
from mta.config.values import DomainPattern, Duration, Name
from mta.mail.cause import Cause


class CauseRule(Section):
    """One rule; of what it names each has to fit."""

    name: Name = Field(description='What "mta cause" and decisions call it.')
    cause: Literal[tuple(Cause)] = Field(description="The cause.")  # type: ignore[valid-type]
    text: tuple[str, ...] = Field((), description="Patterns; one of them is in the text.")
    codes: tuple[str, ...] = Field((), description='Beginnings of the code; "0": no reply came.')
    status: tuple[str, ...] = Field((), description='Enhanced codes; "4.7.": all that begin so.')
    stages: tuple[str, ...] = Field((), description="What was replied to.")
    hosts: tuple[DomainPattern, ...] = Field((), description="Who said it.")
    action: Literal["slow", "suspend"] | None = Field(None, description="What follows.")
    for_: Duration = Field(parse_duration("15m"), alias="for", description="For how long at first.")
    samples: StrictInt = Field(3, ge=1, le=1000, description="After so many replies")
    window: Duration = Field(parse_duration("10m"), description="within so long.")

    def conflicts(self) -> Iterator[Conflict]:
        """Yield patterns that cannot be used, and a rule about everything."""
        for index, text in enumerate(self.text):
            try:
                Pattern(text)
            except ValueError as error:
                yield Conflict(("text", index), str(error))
        if not (self.text or self.codes or self.status or self.stages or self.hosts):
            yield Conflict(("name",), "would fit everything: give it text, codes, status or hosts")


class CausesFile(Section):
    """A file of rules."""

    shipped: StrictBool = Field(
        True, description="Whether the rules that come with the program follow these."
    )
    rule: tuple[CauseRule, ...] = Field((), description=CauseRule.__doc__)

    def conflicts(self) -> Iterator[Conflict]:
        """Yield names that are used twice."""
        seen: set[Any] = set()
        for index, one in enumerate(self.rule):
            if one.name in seen:
                yield Conflict(("rule", index, "name"), f'"{one.name}" is used twice')
            seen.add(one.name)
