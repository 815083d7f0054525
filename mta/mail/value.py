"""Values that are made for each message: frozen for whoever writes code, cheap to make.

What ``dataclass(frozen=True)`` makes sets each field through ``object.__setattr__``, ten times as
slow as an assignment; two hundred fields a message were a twentieth of what a relayed message
costs.  A ``value`` has the same equality, hash and slots; that nobody assigns to its fields is
for mypy to see, which treats it as frozen.
"""

from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def value(cls: type[T]) -> type[T]:
    """Make a dataclass of ``cls``, whose instances nobody changes."""
    return dataclass(slots=True, unsafe_hash=True)(cls)
