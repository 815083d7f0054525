"""Which of the processes with a lease on the spool are there, as far as that can be seen here."""

from mta import identity
from mta.spool.leases import Node


def alive(node: Node, now_ms: int) -> bool:
    """Tell whether a process is there."""
    return node.lease_until_ms > now_ms and identity.there(node.about) is not False


def works(node: Node, now_ms: int) -> bool:
    """Tell whether a process is there that works on mail: a supervisor does not."""
    return not node.supervises and alive(node, now_ms)
