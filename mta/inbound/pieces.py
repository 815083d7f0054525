"""What has arrived of a message and is not in the spool yet, counted for the whole process."""

from mta.inbound.reception import Reception

_SMALL = 1024  # pieces below it are joined


class Pieces:
    """One message's."""

    def __init__(self, reception: Reception) -> None:
        self.held = 0  # octets, those included that are held back elsewhere
        self._pieces: list[bytes] = []
        self._reception = reception

    def __bool__(self) -> bool:
        """Tell whether there are any."""
        return bool(self._pieces)

    def keep(self, data: bytes) -> None:
        """Take one more."""
        # A client that sends an octet or two in each TLS record would else hold thirty times
        # the memory that is counted.
        if self._pieces and len(self._pieces[-1]) < _SMALL:
            self._pieces[-1] += data
        else:
            self._pieces.append(data)
        self.hold(len(data))

    def hold(self, octets: int) -> None:
        """Count what is held back of the message."""
        self.held += octets
        self._reception.held += octets

    def joined(self) -> bytes:
        """Return all of them as one, which they are from now on."""
        self._pieces = [b"".join(self._pieces)]
        return self._pieces[0]

    def take(self) -> list[bytes]:
        """Return all of them; they are counted until ``release``."""
        pieces, self._pieces = self._pieces, []
        return pieces

    def release(self) -> None:
        """Forget them."""
        self._reception.held -= self.held
        self.held = 0
        self._pieces = []
