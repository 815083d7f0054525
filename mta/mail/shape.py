"""How mail to a site has to be paced: what somebody has said about it, value by value."""

from dataclasses import dataclass, fields, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class Shape:
    """Limits of one site.  None, or "" for words: nothing is said, what holds for all holds."""

    connections: int | None = None  # deliveries at the same time
    messages_per_second: int | None = None  # begun; a delivery counts as one
    messages_per_minute: int | None = None
    messages_per_hour: int | None = None
    messages_per_connection: int | None = None
    recipients_per_transaction: int | None = None
    idle_s: float | None = None  # how long a connection waits for more mail
    tls_minimum: str = ""  # "TLSv1.2", "TLSv1.3": nothing is sent without
    names: tuple[str, ...] = ()  # of the entries that it was made of, the most specific first

    @property
    def queued(self) -> bool:
        """Whether the queue has anything to keep to, and not only the connection."""
        return self.connections is not None or bool(self.rates)

    @property
    def rates(self) -> tuple[tuple[int, float], ...]:
        """Messages, and the seconds in which so many may be begun."""
        said = (
            (self.messages_per_second, 1.0),
            (self.messages_per_minute, 60.0),
            (self.messages_per_hour, 3600.0),
        )
        return tuple((count, seconds) for count, seconds in said if count is not None)

    def under(self, other: "Shape") -> "Shape":
        """Return this shape, and what ``other`` says where this one says nothing."""
        missing: dict[str, Any] = {
            field.name: getattr(other, field.name)
            for field in fields(self)
            if getattr(self, field.name) in (None, "")
        }
        said = any(value not in (None, "") for value in missing.values())
        return replace(self, **missing, names=self.names + other.names) if said else self

    def within(self, other: "Shape") -> "Shape":
        """Return what keeps to both: the stricter of each value."""
        stricter: dict[str, Any] = {}
        for field in fields(self):
            mine, others = getattr(self, field.name), getattr(other, field.name)
            if field.name == "names" or others in (None, ""):
                continue
            if mine in (None, "") or (
                others > mine if field.name == "tls_minimum" else others < mine
            ):
                stricter[field.name] = others
        if not stricter:
            return self
        new = tuple(name for name in other.names if name not in self.names)
        return replace(self, **stricter, names=self.names + new)


ANY_SHAPE = Shape()
