"""Queue ids: time-ordered, never reused, made without asking anybody, safe in a shell.

Sixteen characters of Crockford's base 32 in upper case: nine for the milliseconds
since the epoch, seven random.  Sorting ids sorts messages by arrival to the
millisecond; two of one millisecond collide with a chance of 2**-35, and then the
primary key refuses the second one, which its sender sees as a temporary failure.
"""

import re
from collections.abc import Callable
from secrets import randbits
from typing import NewType

QueueId = NewType("QueueId", str)

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = [a + b for a in _ALPHABET for b in _ALPHABET]
_PATTERN = re.compile(rf"[{_ALPHABET}]{{16}}\Z")


def new_queue_id(now_ms: int, random_bits: Callable[[int], int] = randbits) -> QueueId:
    """Return the id of a message that arrives at ``now_ms`` (milliseconds, UTC)."""
    number = (now_ms & (1 << 45) - 1) << 35 | random_bits(35)
    pairs = _PAIRS
    return QueueId(  # one is made for each message: no loop
        pairs[number >> 70]
        + pairs[number >> 60 & 1023]
        + pairs[number >> 50 & 1023]
        + pairs[number >> 40 & 1023]
        + pairs[number >> 30 & 1023]
        + pairs[number >> 20 & 1023]
        + pairs[number >> 10 & 1023]
        + pairs[number & 1023]
    )


def time_of(queue_id: str) -> int:
    """Return the milliseconds (UTC) at which a queue id was made."""
    number = 0
    for letter in queue_id[:9]:
        number = number << 5 | _ALPHABET.index(letter)
    return number


def is_queue_id(text: str) -> bool:
    """Tell whether ``text`` has the form of a queue id."""
    return _PATTERN.match(text) is not None
