"""What was found out about a message, and how it is written down (RFC 8601).

What a stranger said of himself (an address, a domain, a selector) goes into the field as a token
or a quoted string in printable ASCII, and nothing longer than a domain name can be: it
can't end the field, nor add a result of its own.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

_TOKEN = re.compile(r"[A-Za-z0-9!#$&'*+.^_`{|}~-]+\Z")
_ADDRESS = re.compile(r"(?:[A-Za-z0-9!#$%&'*+/^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/^_`{|}~-]+)*)?"
                      r"@[A-Za-z0-9._-]+\Z")  # fmt: skip
_UNSAFE = re.compile(r"[^ -~]")
_LONGEST = 320  # a local part, "@", and a domain


@dataclass(frozen=True, slots=True)
class Result:
    """One method's word on one identity."""

    method: str  # "spf", "dkim", "dmarc"
    value: str  # "pass", "fail", "none", ... (RFC 8601 §2.7)
    properties: tuple[tuple[str, str], ...] = ()  # ("header.d", "example.org")
    reason: str = ""  # in words, for people

    def property(self, name: str) -> str:
        """Return what stands under ``name``, or ""."""
        return dict(self.properties).get(name, "")

    def __str__(self) -> str:
        """One word for the log and the history: ``dkim=pass(d=example.org)``."""
        about = self.property("header.d") or self.property("header.from")
        about = about or self.property("smtp.mailfrom") or self.property("smtp.helo")
        named = {"dkim": "d="}.get(self.method, "") + about if about else ""
        why = ": ".join(filter(None, (named, self.reason)))
        return f"{self.method}={self.value}" + (f"({why})" if why else "")


def authentication_results(authserv_id: str, results: Iterable[Result]) -> bytes:
    """Return the field, its CRLF included; ``none`` if nothing was looked at (§2.2)."""
    lines = [_line(result) for result in results] or ["none"]
    text = ";\r\n\t".join([f"Authentication-Results: {value(authserv_id)}", *lines])
    return text.encode("ascii") + b"\r\n"


def _line(result: Result) -> str:
    words = [f"{result.method}={result.value}"]
    if result.reason:
        words.append(f"reason={_quoted(_printable(result.reason))}")
    words += [f"{name}={value(said)}" for name, said in result.properties if said]
    lines, line = [], words[0]
    for word in words[1:]:
        if len(line) + len(word) > 70:
            lines.append(line)
            line = " " + word
        else:
            line += " " + word
    return "\r\n\t".join([*lines, line])


def value(said: str) -> str:
    """Return what somebody said as a ``pvalue`` (RFC 8601 §2.2)."""
    text = _printable(said)
    if _TOKEN.match(text) or _ADDRESS.match(text):
        return text
    return _quoted(text)


def _printable(said: str) -> str:
    return _UNSAFE.sub("?", said[:_LONGEST])


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
