"""The content of one message as it arrives: by DATA, or in chunks by BDAT (RFC 3030).

Takes octets from ``framing``, has them judged by ``content``, and says with events how far the
message is.  A chunk is swallowed to its last octet whatever is wrong with it, since what
follows it is commands.

Trusts nothing: what was announced too large is refused before it comes and is not kept.
Knows neither replies to commands nor states; ``server`` does.
"""

from dataclasses import dataclass

from mta.smtp.content import Inspection
from mta.smtp.events import Content, EndOfChunk, EndOfData
from mta.smtp.framing import Incoming
from mta.smtp.replies import Reply


@dataclass(frozen=True, slots=True)
class Endless:
    """A message that is lost and does not end within reason."""

    reply: Reply


@dataclass(frozen=True, slots=True)
class Swallowed:
    """A chunk that belonged to no message has passed."""

    reply: Reply


class Swallowing:
    """A chunk that belongs to no message: its octets are no commands all the same."""

    def __init__(self, incoming: Incoming, size: int, answer: Reply) -> None:
        self._incoming = incoming
        self._answer = answer
        incoming.begin_chunk(size)

    def next(self) -> Swallowed | None:
        """Return the answer once all of the chunk has passed."""
        while (piece := self._incoming.chunk()) is not None:
            if piece.last:
                return Swallowed(self._answer)
        return None


class Arrival:
    """One message between DATA, or its first BDAT, and its end."""

    def __init__(self, incoming: Incoming, message_size: int, *, binary: bool = False) -> None:
        self._incoming = incoming
        self._inspection = Inspection(message_size, binary=binary)
        self._binary = binary
        self._chunked = False
        self._last = True  # what is arriving is the end of the message
        self._held = b""  # a CR at the end of a piece: what follows decides whether it is bare

    def begin_data(self) -> None:
        """Content follows, up to its final dot."""
        self._incoming.begin_content()

    def begin_chunk(self, size: int, *, last: bool, refusal: Reply | None = None) -> None:
        """A chunk of ``size`` octets follows; ``refusal``: the message is lost already."""
        self._chunked, self._last = True, last
        self._incoming.begin_chunk(size)
        if refusal is not None:
            self._inspection.refusal = self._inspection.refusal or refusal
        self._inspection.announce(size)

    def next(self) -> Content | EndOfChunk | EndOfData | Endless | None:
        """Return the next event, or None while there is none."""
        inspection = self._inspection
        while (piece := self._take()) is not None:
            data, last = piece
            data = data if inspection.accepts(data) else b""
            if last and self._last:
                return EndOfData(data, inspection.refusal, inspection.eight_bit)
            if last:
                return EndOfChunk(data, inspection.refusal, inspection.octets + len(self._held))
            if data:
                return Content(data)
            if inspection.refusal is not None and inspection.endless:
                return Endless(inspection.refusal)
        return None

    def _take(self) -> tuple[bytes, bool] | None:
        """Return a piece that can be judged alone, and whether it was the last."""
        piece = self._incoming.chunk() if self._chunked else self._incoming.content()
        if piece is None:
            return None
        data = piece.data
        if self._chunked and not self._binary:
            data, self._held = self._held + data, b""
            if data.endswith(b"\r") and not (piece.last and self._last):
                data, self._held = data[:-1], b"\r"
        return data, piece.last
