"""What the two sides of a milter connection agree on before anything else.

We offer version 6 and all that we can do; the filter answers with its own version and the part
of the offer that it wants.  A filter of an older version knows fewer flags, and what it
does not know stays off.

Not offered: recipients that we have refused ourselves (a filter has nothing to say about
them), and blocks of the body larger than the 64 KiB of all versions.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag
from types import MappingProxyType

VERSION = 6
OLDEST = 2

_LONGEST_LIST = 100  # names of macros that a filter may want of one stage


class Actions(IntFlag):
    """What a filter may do to a message at its end."""

    ADD_HEADERS = 0x01
    CHANGE_BODY = 0x02
    ADD_RECIPIENTS = 0x04
    DELETE_RECIPIENTS = 0x08
    CHANGE_HEADERS = 0x10
    QUARANTINE = 0x20
    CHANGE_SENDER = 0x40
    ADD_RECIPIENTS_WITH_PARAMETERS = 0x80
    SET_MACROS = 0x100


class Steps(IntFlag):
    """What need not be sent (NO_), what is not answered (UNANSWERED_), and how it is sent."""

    NO_CONNECT = 0x01
    NO_HELO = 0x02
    NO_MAIL = 0x04
    NO_RCPT = 0x08
    NO_BODY = 0x10
    NO_HEADERS = 0x20
    NO_END_OF_HEADER = 0x40
    UNANSWERED_HEADER = 0x80
    NO_UNKNOWN = 0x100
    NO_DATA = 0x200
    SKIP = 0x400  # the filter may say that it has seen enough of the body
    UNANSWERED_CONNECT = 0x1000
    UNANSWERED_HELO = 0x2000
    UNANSWERED_MAIL = 0x4000
    UNANSWERED_RCPT = 0x8000
    UNANSWERED_DATA = 0x10000
    UNANSWERED_UNKNOWN = 0x20000
    UNANSWERED_END_OF_HEADER = 0x40000
    UNANSWERED_BODY = 0x80000
    LEADING_SPACE = 0x100000  # white space behind the colon belongs to the value of a field


class Stage(IntEnum):
    """Where macros are sent, by the numbers that a filter names them with."""

    CONNECT = 0
    HELO = 1
    MAIL = 2
    RCPT = 3
    DATA = 4
    END_OF_MESSAGE = 5
    END_OF_HEADER = 6


OFFERED_ACTIONS = Actions(0x1FF)
OFFERED_STEPS = Steps(0x1FF7FF)
_NOTHING = Steps(0)
_KNOWN_IN_2 = Actions(0x3F), Steps(0x7F)


class Misbehaved(Exception):
    """The filter has said what it must not say; the text says what."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """What holds on a connection."""

    version: int = VERSION
    actions: Actions = OFFERED_ACTIONS
    steps: Steps = _NOTHING
    macros: Mapping[Stage, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def skip(self) -> bool:
        """Whether it may say SKIP."""
        return Steps.SKIP in self.steps


def offer() -> bytes:
    """Return the payload of our offer."""
    return b"".join(
        number.to_bytes(4) for number in (VERSION, int(OFFERED_ACTIONS), int(OFFERED_STEPS))
    )


def agree(payload: bytes) -> Agreement:
    """Return what the filter's answer means.  Raises ``Misbehaved``."""
    if len(payload) < 12:
        raise Misbehaved("its answer to the offer is too short")
    version, actions, steps = (int.from_bytes(payload[at : at + 4]) for at in (0, 4, 8))
    if not OLDEST <= version <= VERSION:
        raise Misbehaved(f"it wants version {version} of the protocol")
    if actions & ~int(OFFERED_ACTIONS) or steps & ~int(OFFERED_STEPS):
        raise Misbehaved("it wants what was not offered")
    if version == OLDEST:
        return Agreement(version, Actions(actions) & _KNOWN_IN_2[0], Steps(steps) & _KNOWN_IN_2[1])
    macros = _macros(payload[12:]) if actions & Actions.SET_MACROS else {}
    return Agreement(version, Actions(actions), Steps(steps), MappingProxyType(macros))


def _macros(octets: bytes) -> dict[Stage, tuple[str, ...]]:
    """Return the macros that are wanted: a stage, and names with spaces between them."""
    lists: dict[Stage, tuple[str, ...]] = {}
    while octets:
        if len(octets) < 5 or b"\0" not in octets[4:]:
            raise Misbehaved("its lists of macros are cut off")
        stage, (names, _, octets) = int.from_bytes(octets[:4]), octets[4:].partition(b"\0")
        wanted = tuple(names.decode("ascii", "replace").replace(",", " ").split())
        if stage not in Stage.__members__.values() or len(wanted) > _LONGEST_LIST:
            raise Misbehaved("its lists of macros are not those of the protocol")
        lists[Stage(stage)] = wanted
    return lists
