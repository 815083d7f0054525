"""What is wrong with a configuration: a list, never only the first."""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault."""

    file: Path
    where: str  # key path, "route["partners"].smarthost.port"; ":3:5" is line and column
    text: str

    def __str__(self) -> str:
        if not self.where:
            return f"{self.file}: {self.text}"
        if self.where.startswith(":"):
            return f"{self.file}{self.where}: {self.text}"
        return f"{self.file}: {self.where}: {self.text}"


class ConfigError(Exception):
    """The configuration cannot be used.  Its text is all of ``problems``, one a line.

    The caller ends with status 78, EX_CONFIG.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that ``word`` was probably meant to be."""
    by_folded = {name.lower().replace("-", "_"): name for name in known}
    folded = word.lower().replace("-", "_")
    close = difflib.get_close_matches(folded, by_folded, n=1, cutoff=0.6)
    return by_folded[close[0]] if close else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `` (did you mean "x"?)``, or nothing where no known word is near."""
    meant = nearest(word, known)
    return f' (did you mean "{meant}"?)' if meant else ""
