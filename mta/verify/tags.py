"""Lists of tags, ``name=value; name=value``: signatures, key records, policies (RFC 6376 §3.2)."""

_SPACE = " \t\r\n"
_MOST = 100  # tags in a list; who writes more means to keep us busy


class Malformed(Exception):
    """It is no list of tags; the text says why."""


def read(text: str) -> dict[str, str]:
    """Return the tags, in their order; raises ``Malformed``.

    A tag that occurs twice spoils the list.  Values keep the white space inside them.
    """
    found: dict[str, str] = {}
    for part in text.split(";", _MOST):
        if not (part := part.strip(_SPACE)):
            continue
        name, equals, value = part.partition("=")
        name = name.rstrip(_SPACE)
        if not equals or not name.replace("_", "").isalnum() or not name.isascii():
            raise Malformed("a tag without a name or a value")
        if name in found:
            raise Malformed(f"{name}= occurs twice")
        found[name] = value.strip(_SPACE)
    return found


def read_leniently(text: str) -> dict[str, str]:
    """Return the tags that can be read; of two with one name the first (RFC 9989 §4.7)."""
    found: dict[str, str] = {}
    for part in text.split(";", _MOST):
        name, equals, value = part.partition("=")
        if equals:
            found.setdefault(name.strip(_SPACE).lower(), value.strip(_SPACE))
    return found


def without_space(value: str) -> str:
    """Return a value without its white space, as base64 and lists may be folded."""
    return "".join(value.split())
