"""A hundred of a thousand destinations hang: by how much does that slow the other nine hundred?

``python tests/bench/silent.py``: the real relay, a name server and a sink on loopback.  The mail
of a round is submitted, for every domain so many messages; measured is the time until all of
the nine hundred have theirs.  The hundred are hosts that accept a connection and never
greet.  Rounds with them and without take turns, each with a relay that knows nothing yet.
"""

import argparse
import itertools
import socket
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from relay_process import Relay, free_port
from sink import Sink
from stub_dns import StubDns

_GOOD, _SILENT = "127.0.0.1", "127.0.0.3"
_AT_ONCE = 100  # recipients of one message


class Zone(Mapping[tuple[str, str], Sequence[str]]):
    """Every domain has a mail exchanger of its own; nobody speaks at those of ``silentN``."""

    def get(self, key: tuple[str, str], default: object = None) -> object:
        name, kind = key
        if kind == "MX":
            return [f"10 mx.{name}."]
        if kind == "A":
            return [_SILENT if "silent" in name else _GOOD]
        return default

    def __getitem__(self, key: tuple[str, str]) -> Sequence[str]:
        raise KeyError(key)

    def __iter__(self):
        return iter([("any.test", "MX")])

    def __len__(self) -> int:
        return 1


class AnyDns(StubDns):
    """Answers for every name, with an empty answer for types that are not there."""

    def __init__(self) -> None:
        super().__init__({})
        self.zone = Zone()

    def _answer(self, query):
        response = super()._answer(query)
        response.set_rcode(0)
        return response


def round_(good: int, silent: int, each: int) -> float:
    """Return the seconds in which ``good`` destinations get ``each`` messages."""
    with ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory())
        port = free_port()
        hole = stack.enter_context(socket.create_server((_SILENT, port), backlog=4096))
        assert hole is not None
        sink = Sink(port, timing=False)
        stack.callback(sink.stop)
        dns = stack.enter_context(AnyDns())
        relay = Relay(Path(directory), dns_port=dns.port, mx_port=port, cold=True)
        relay.start()
        stack.callback(relay.stop)
        domains = [f"good{n}.test" for n in range(good)]
        for n in range(silent):
            domains.insert(n * len(domains) // silent, f"silent{n}.test")
        began = time.monotonic()
        for number, part in itertools.product(range(each), range(0, len(domains), _AT_ONCE)):
            people = [f"b@{domain}" for domain in domains[part : part + _AT_ONCE]]
            relay.send(people, f"message {number}")
        return sink.wait_for(good * each, stalled_s=60.0) - began


def main() -> int:
    """Print each round and the ratio of the medians; status 1 beyond a tenth."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--each", type=int, default=10, help="messages for every destination")
    options = parser.parse_args()
    alone, beside = [], []
    for _ in range(options.rounds):
        alone.append(round_(900, 0, options.each))
        beside.append(round_(900, 100, options.each))
        print(f"900 alone: {alone[-1]:.1f} s; beside 100 that hang: {beside[-1]:.1f} s", flush=True)
    ratio = median(beside) / median(alone)
    print(f"{ratio:.3f} times as long (asked for: at most 1.1)")
    return ratio > 1.1


if __name__ == "__main__":
    sys.exit(main())
