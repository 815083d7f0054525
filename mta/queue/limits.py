"""How hard to work."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Counts of deliveries at the same time; ``share`` in recipients."""

    initial: int = 5
    concurrency: int = 20  # per site
    total: int = 200
    share: int = 5_000
    dead_after: int = 5
    dead_min_s: float = 60.0
    dead_max_s: float = 900.0
    shared: bool = False  # what is said of a site holds for several processes together
