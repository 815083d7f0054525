"""Packets of the milter protocol: four octets of length, one that says what it is, and the rest.

A packet of a filter is short, but for the new body, whose packets we hand on in pieces as they
come, so that no length that a filter announces is ever kept in memory.
"""

from collections.abc import Iterable

from mta.milter.options import Misbehaved

BODY = b"b"  # the packet that is handed on in pieces
LONGEST = 128 * 1024  # octets of any other one; a header field of 64 KiB, and some
LONGEST_BODY = 16 * 1024 * 1024  # announced; more is no length but an accident
PIECE = 64 * 1024 - 1  # octets of a body that are sent at a time


def packet(kind: bytes, payload: bytes = b"") -> bytes:
    """Return a packet as it is sent."""
    return (len(payload) + 1).to_bytes(4) + kind + payload


def words(texts: Iterable[bytes]) -> bytes:
    """Return texts, each with the NUL that ends it; a NUL inside would end it sooner."""
    return b"".join(text.replace(b"\0", b"") + b"\0" for text in texts)


class Packets:
    """What a filter sends, octets in, packets out."""

    def __init__(self) -> None:
        self._octets = bytearray()
        self._body = 0  # octets of a new body that are still to come in this packet

    def receive(self, octets: bytes) -> None:
        """Take what has come."""
        self._octets += octets

    @property
    def pending(self) -> int:
        """How many octets wait."""
        return len(self._octets)

    def next(self) -> tuple[bytes, bytes] | None:
        """Return kind and payload of the next packet, None until there is one.

        Raises ``Misbehaved``.
        """
        if self._body:
            return self._piece()
        if len(self._octets) < 5:
            return None
        length, kind = int.from_bytes(self._octets[:4]), bytes(self._octets[4:5])
        if not length:
            raise Misbehaved("it has sent a packet of nothing")
        if length > (LONGEST_BODY if kind == BODY else LONGEST):
            raise Misbehaved(f"it has announced a packet of {length} octets")
        if kind == BODY:
            del self._octets[:5]
            self._body = length - 1
            return self._piece() if self._body else (BODY, b"")
        if len(self._octets) < 4 + length:
            return None
        payload = bytes(self._octets[5 : 4 + length])
        del self._octets[: 4 + length]
        return kind, payload

    def _piece(self) -> tuple[bytes, bytes] | None:
        piece = bytes(self._octets[: self._body])
        if not piece:
            return None
        del self._octets[: len(piece)]
        self._body -= len(piece)
        return BODY, piece
