"""Lines of a message that are longer than SMTP allows (RFC 5321 §4.5.3.1.6, RFC 5322 §2.1.1).

Looks at pieces as they arrive, from one line end back from the longest that is allowed to the
next, so that of ordinary mail it reads little.
"""

from mta.smtp.replies import reply

LONGEST = 998  # octets, CRLF not included
LINE_TOO_LONG = reply(
    554, "5.6.0", f"A line of the message is longer than {LONGEST} octets; encode the text"
)


class Lines:
    """Those of one message."""

    def __init__(self) -> None:
        self._open = 0  # octets of the line that the last piece has ended in

    def too_long(self, data: bytes) -> bool:
        """Take the next piece; tell whether a line in it is too long."""
        begin, size = -self._open, len(data)  # of the line, where it began in earlier pieces
        while size - begin > LONGEST:
            # The last line end that may end this line, its CRLF included
            end = data.rfind(b"\n", max(begin, 0), begin + LONGEST + 2)
            if end < 0:
                if size - begin < LONGEST + 2:
                    break  # CRLF may still come
                return True
            begin = end + 1
        end = data.rfind(b"\n", max(begin, 0))
        self._open = size - (end + 1 if end >= 0 else begin)
        return False
