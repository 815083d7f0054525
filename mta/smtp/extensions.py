"""What is offered in the answer to EHLO (RFC 5321 §4.1.1.1)."""

from collections.abc import Iterable, Sequence

from mta.smtp.replies import Reply, reply


def offer(
    host_name: str,
    message_size: int,
    *,
    starttls: bool,
    mechanisms: Sequence[str],
    more: Iterable[str] = (),
) -> Reply:
    """Return the answer to EHLO; it carries no enhanced code (RFC 2034 §4).

    ``starttls`` is false once TLS is on (RFC 3207 §4.2), ``mechanisms`` empty as long as it is not;
    ``more`` is what ``requests`` offers.
    """
    lines = [
        host_name,
        "PIPELINING",  # RFC 2920
        f"SIZE {message_size}",  # RFC 1870
        "8BITMIME",  # RFC 6152
        "ENHANCEDSTATUSCODES",  # RFC 2034
    ]
    if starttls:
        lines.append("STARTTLS")  # RFC 3207
    if mechanisms:
        lines.append("AUTH " + " ".join(mechanisms))  # RFC 4954
    lines.extend(more)
    lines.append("HELP")
    return reply(250, "", *lines)
