"""xtext (RFC 3461 §4): ASCII in which ``+XX`` stands for an octet.

It can hide anything, line ends first of all, so what is decoded is looked at before it is used.
"""

import re

_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*")
_ESCAPE = re.compile(r"\+([0-9A-F]{2})")


def is_xtext(text: str) -> bool:
    """Tell whether ``text`` is xtext."""
    return _XTEXT.fullmatch(text) is not None


def decode(text: str) -> str:
    """Return what ``text`` stands for; ``ValueError`` unless that is printable ASCII."""
    if not is_xtext(text):
        raise ValueError("it is not xtext")
    decoded = _ESCAPE.sub(lambda found: chr(int(found[1], 16)), text)
    if not (decoded.isascii() and decoded.isprintable()):
        raise ValueError("it stands for characters that are not printable ASCII")
    return decoded
