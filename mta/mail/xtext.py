"""xtext (RFC 3461 §4): ASCII in which ``+XX`` stands for an octet; and what it is for UTF-8.

The addresses of the type "utf-8" (RFC 6533 §3) have ``\\x{XXXX}`` instead, for any character;
where SMTPUTF8 is at hand the characters may stand there themselves.

It can hide anything, line ends first of all, so what is decoded is looked at before it is used.
"""

import re

_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*")
_ESCAPE = re.compile(r"\+([0-9A-F]{2})")
_POINT = r"(?:10|0?[0-9A-Fa-f])?[0-9A-Fa-f]{2,4}"  # a character's number: 10FFFF is the last
_UTF8 = re.compile(rf"(?:[!-*,-<>-\[\]-~\x80-\U0010ffff]|\+[0-9A-F]{{2}}|\\x\{{{_POINT}\}})*")
_UTF8_ESCAPE = re.compile(r"\\x\{([0-9A-Fa-f]+)\}|\+([0-9A-F]{2})")


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


def decode_utf8(text: str) -> str:
    """Return the address that ``text`` stands for, either form of RFC 6533 §3.

    ``ValueError`` unless it can be shown.
    """
    if not _UTF8.fullmatch(text):
        raise ValueError("it is not the form of an address in UTF-8")
    decoded = _UTF8_ESCAPE.sub(lambda found: chr(int(found[1] or found[2], 16)), text)
    # Joiners (RFC 5892 app. A) are letters' parts
    if not decoded.replace("\u200c", "").replace("\u200d", "").isprintable():
        raise ValueError("it stands for characters that can't be shown")
    return decoded


def encode_utf8(address: str) -> str:
    """Return an address in the form that is ASCII (RFC 6533 §3, utf-8-addr-xtext)."""
    return "".join(
        f"\\x{{{ord(char):02X}}}" if not "!" <= char <= "~" or char in "\\+=" else char
        for char in address
    )


def encode(text: str) -> str:
    """Return printable ASCII as xtext (RFC 3461 §4)."""
    return "".join(
        char if "!" <= char <= "~" and char not in "+=" else f"+{ord(char):02X}" for char in text
    )
