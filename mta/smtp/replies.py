"""SMTP replies as values (RFC 5321 §4.2, RFC 2034, RFC 3463)."""

from functools import lru_cache

from mta.mail.value import value


@value
class Reply:
    """One reply: a code, an enhanced status code where it has one, and lines of text."""

    code: int
    enhanced: str  # "2.1.0"; "" on greetings, EHLO and 3xx replies (RFC 2034 §4)
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        """All lines as one."""
        return " ".join(self.lines)

    @property
    def positive(self) -> bool:
        """2xx or 3xx."""
        return self.code < 400

    @property
    def temporary(self) -> bool:
        """4xx."""
        return 400 <= self.code < 500

    @property
    def permanent(self) -> bool:
        """5xx."""
        return self.code >= 500

    def to_bytes(self) -> bytes:
        """Return the octets on the wire; the enhanced code stands on every line."""
        return _octets(self.code, self.enhanced, self.lines)


# Nearly all replies of a session are the same few in every session.
@lru_cache(maxsize=256)
def _octets(code: int, enhanced: str, lines: tuple[str, ...]) -> bytes:
    prefix = f"{enhanced} " if enhanced else ""
    last = len(lines) - 1
    return "".join(
        f"{code}{' ' if number == last else '-'}{prefix}{line}\r\n"
        for number, line in enumerate(lines)
    ).encode("utf-8")


def reply(code: int, enhanced: str, *lines: str) -> Reply:
    """Make a reply of one or more lines."""
    return Reply(code, enhanced, lines or ("",))
