"""Which settings a running service does not take up: a reload (SIGHUP) says so by their names."""

from collections.abc import Callable

from mta.config.build import node_name
from mta.config.settings import Settings


def needs_restart(old: Settings, new: Settings) -> list[str]:
    """Return the settings that differ and that a reload does not reach."""
    return [name for name, get in _FIXED.items() if get(old) != get(new)]


_FIXED: dict[str, Callable[[Settings], object]] = {
    "host_name": lambda settings: settings.host_name,
    "spool.url": lambda settings: settings.spool.url,
    "spool.min_free": lambda settings: settings.spool.min_free,
    "a listener": lambda settings: [
        (one.name, one.endpoint, one.tls == "implicit") for one in settings.listener
    ],
    "dns": lambda settings: settings.dns,
    "tls.minimum": lambda settings: settings.tls.minimum,
    "queue.node": node_name,
    "metrics": lambda settings: settings.metrics,
    "workers": lambda settings: settings.workers,
}
