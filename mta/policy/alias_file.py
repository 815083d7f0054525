"""Alias files, in the form of Sendmail's and Postfix's: ``name: address, address``.

``#`` begins a comment at the beginning of a line; a line that begins with a space goes on with
the one before.  ``:include:FILE`` stands for the addresses in another file.  Knowingly, nothing
here starts programs or writes files: ``|command`` and ``/file`` are refused, and whoever wants
that names a route's target instead.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from mta.mail.address import ascii_domain, split
from mta.smtp.grammar import mailbox

INCLUDE = ":include:"

_WORD = re.compile(r'(?:"(?:[^"\\]|\\.)*"|[^,"\s])+')
_NO_ADDRESS = {
    "|": "commands are not run",
    "/": "files are not written; a [[route]] can discard mail or bring it to a Maildir",
    ":": f"only {INCLUDE}FILE is known",
    "\\": "a name in its own list stands for its mailbox, without a backslash",
}


class AliasSyntax(ValueError):
    """A line that cannot be read."""

    def __init__(self, line: int, text: str) -> None:
        super().__init__(text)
        self.line = line


@dataclass(frozen=True, slots=True)
class Line:
    """One entry."""

    number: int  # of its first line, from 1
    key: str
    targets: tuple[str, ...]


def parse(text: str) -> Iterator[Line]:
    """Yield the entries of an alias file; ``AliasSyntax``."""
    for number, line in _logical_lines(text):
        colon = re.match(r'((?:"(?:[^"\\]|\\.)*"|[^":])+?)\s*:(.*)', line, re.DOTALL)
        if colon is None:
            raise AliasSyntax(number, 'is not "name: address, address"')
        try:
            yield Line(number, key(colon[1]), words(colon[2]))
        except ValueError as error:
            raise AliasSyntax(number, str(error)) from None


def parse_list(text: str) -> Iterator[tuple[int, str]]:
    """Yield line number and address of what ``:include:`` names; ``AliasSyntax``."""
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        try:
            for one in words(line):
                if one.startswith(INCLUDE):
                    raise ValueError("a list does not include others")
                yield number, one
        except ValueError as error:
            raise AliasSyntax(number, str(error)) from None


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    begun = 0
    parts: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if line[0] in " \t":
            if not parts:
                raise AliasSyntax(number, "goes on with an entry, and there is none before it")
            parts.append(line.strip())
            continue
        if parts:
            yield begun, " ".join(parts)
        begun, parts = number, [line.strip()]
    if parts:
        yield begun, " ".join(parts)


def words(text: str) -> tuple[str, ...]:
    """Return the addresses in a list with commas; ``ValueError``."""
    found: list[str] = []
    at, text = 0, text.strip().removesuffix(",")
    while at < len(text):
        word = _WORD.match(text, at)
        if word is None:
            raise ValueError(f'"{text[at : at + 40]}" is not an address')
        found.append(target(word[0]))
        rest = re.compile(r"\s*(,|\Z)\s*").match(text, word.end())
        if rest is None:
            raise ValueError(f'there is no comma behind "{word[0]}"')
        at = rest.end()
    if not found:
        raise ValueError("there is no address behind the colon")
    return tuple(found)


def key(text: str) -> str:
    """Return the left side: ``name``, ``name@example.org`` or ``@example.org``; ``ValueError``."""
    if text.startswith("@"):
        return f"@{_domain(text[1:])}"
    return _address(text)


def target(text: str) -> str:
    """Return one address of a right side, or an inclusion; ``ValueError``.

    It may be a ``name`` alone, in the same domain, or ``@example.org``: the same name there.
    """
    if text.lower().startswith(INCLUDE):
        if not text[len(INCLUDE) :]:
            raise ValueError(f"{INCLUDE} needs the name of a file")
        return INCLUDE + text[len(INCLUDE) :]
    reason = _NO_ADDRESS.get(text.lstrip('"')[:1])
    if reason is not None:
        raise ValueError(f'"{text}": {reason}')
    return key(text)


def _domain(text: str) -> str:
    _address(f"x@{text}")
    return ascii_domain(text)


def _address(text: str) -> str:
    """Return an address, or a local part alone."""
    whole = text if mailbox_follows(text) else f"{text}@x"
    try:
        found, end = mailbox(whole)
        local, domain = split(found)
        ascii_domain(domain)
    except ValueError as error:
        raise ValueError(f'"{text}": {error}') from None
    if end != len(whole):
        raise ValueError(f'"{text}" is not an address')
    return found if whole is text else local


def mailbox_follows(text: str) -> bool:
    """Tell whether ``text`` has a domain: an ``@`` outside of quotes."""
    return "@" in re.sub(r'"(?:[^"\\]|\\.)*"', "", text)
