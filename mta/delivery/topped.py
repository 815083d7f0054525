"""A body that has got a line more on its way out."""

from mta.mail.envelope import Body


class Topped:
    """A body with a line on top of its header."""

    def __init__(self, line: bytes, body: Body) -> None:
        self._line = line
        self._body = body
        self.count = body.count

    @property
    def memory(self) -> tuple[bytes, ...] | None:
        """All chunks, when they are still at hand."""
        memory = self._body.memory
        return (self._line + memory[0], *memory[1:]) if memory else memory

    async def chunk(self, number: int) -> bytes:
        """Give chunk ``number``."""
        chunk = await self._body.chunk(number)
        return chunk if number else self._line + chunk
