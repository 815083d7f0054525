"""VERP: a sender of its own for each recipient, so that a bounce's address tells for whom it is.

``news@example.org`` to ``ann@example.com`` is sent as ``news+ann=example.com@example.org``.  What
comes back there is read by whoever sends the news; the null sender is never changed.
"""

from mta.mail.address import quoted, split, unquoted

DELIMITERS = "+="


def sender_for(sender: str, recipient: str, delimiters: str = DELIMITERS) -> str:
    """Return the sender to use for ``recipient``; ``delimiters``: before it, and for its ``@``."""
    local, domain = split(sender)
    if not domain:
        return sender
    whom, where = split(recipient)
    before, at = delimiters[0], delimiters[1]
    text = f"{unquoted(local)}{before}{unquoted(whom)}{at if where else ''}{where}"
    return f"{quoted(text)}@{domain}"
