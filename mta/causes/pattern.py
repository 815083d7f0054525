"""Patterns whose search takes time in proportion to the text, whatever a stranger has written.

A pattern is a regular expression (``re``) without what makes those slow:

* ``.*`` may stand between pieces that each have to be found after the one before, the first
  place being taken: that needs no going back.
* Within a piece nothing repeats without an end: ``?`` and ``{m,n}`` are allowed, ``*`` and ``+``
  are not, nor are references back and looking around.  All ways through a piece are at most
  ``_MOST_WAYS``, so that each place of the text costs no more than a constant.

Upper and lower case are the same.  The text is cut to ``MOST_TEXT`` characters.
"""

import re
from collections.abc import Iterator

MOST_TEXT = 600
_MOST_WAYS = 4000
_MOST_LENGTH = 300

_TOKEN = re.compile(
    r"(?P<escape>\\[sSdDwWbB\\.^$*+?{}\[\]|()/<>=@:#'\" -])"
    r"|(?P<set>\[\^?\]?(?:\\.|[^\]\\])*\])"
    r"|(?P<open>\((?:\?:)?(?!\?))|(?P<close>\))|(?P<or>\|)|(?P<maybe>\?)"
    r"|(?P<times>\{(?P<least>\d{1,3})(?:,(?P<most>\d{1,3}))?\})"
    r"|(?P<plain>[^\\*+?{}\[\]|()])"
)


class Pattern:
    """A pattern, ready to be searched for.  ``ValueError`` says what is wrong with one."""

    def __init__(self, text: str) -> None:
        self.text = text
        if not text or len(text) > _MOST_LENGTH:
            raise ValueError(f"a pattern has 1 to {_MOST_LENGTH} characters")
        self._pieces = [re.compile(piece, re.I) for piece in _pieces(text)]

    def found_in(self, text: str) -> bool:
        """Tell whether ``text``, of ``MOST_TEXT`` characters at most, has it."""
        at = 0
        for piece in self._pieces:
            match = piece.search(text, at)
            if match is None:
                return False
            at = match.end()
        return True


def _pieces(text: str) -> Iterator[str]:
    for piece in re.split(r"(?<!\\)\.\*", text):
        if not piece:
            raise ValueError('".*" must stand between words')
        ways = _ways(piece)
        if ways > _MOST_WAYS:
            raise ValueError(f'"{piece}" can be read in {ways} ways, {_MOST_WAYS} are allowed')
        try:
            re.compile(piece)
        except re.error as error:
            raise ValueError(f'"{piece}" is no pattern: {error}') from None
        yield piece


def _ways(piece: str) -> int:
    """Return in how many ways ``piece`` can be read at one place of a text, at most.

    Each choice counts as if it were independent of all others.
    """
    ways, at, alternatives = 1, 0, [1]
    while at < len(piece):
        token = _TOKEN.match(piece, at)
        if token is None:
            raise ValueError(
                f'"{piece[at : at + 10]}" is not allowed in a pattern (no "*", "+", "(?"): '
                'use "?", "{0,20}", or ".*" outside of brackets'
            )
        at = token.end()
        match token.lastgroup, token["times"]:
            case "open", _:
                alternatives.append(1)
            case "close", _:
                ways *= alternatives.pop() if len(alternatives) > 1 else 1
            case "or", _:
                alternatives[-1] += 1
            case "maybe", _:
                ways *= 2
            case _, str():
                least, most = int(token["least"]), int(token["most"] or token["least"])
                ways *= max(most - least + 1, 1)
                if at > token.start() and piece[token.start() - 1] == ")":
                    raise ValueError('"{m,n}" may not stand behind a group')
    return ways * alternatives[0]
