"""One of several worker processes: a whole relay, on sockets that its supervisor has bound.

``python -m mta.worker``; nobody but the supervisor starts it (``mta.supervisor``).  It is what a
single process is, but for three things: it inherits its sockets, it says to the supervisor and
not to systemd that it is ready, and then that it lives, and it ends when the supervisor is gone.

Trusts its command line, which only the supervisor writes; there is nothing secret on it.
"""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from twisted.internet.task import LoopingCall
from twisted.logger import (
    FileLogObserver,
    eventAsText,
    globalLogBeginner,
    textFileLogObserver,
)

from mta.config.load import load
from mta.config.settings import Settings
from mta.launch import Launch
from mta.ports import Inherited
from mta.service import Relay, built
from mta.supervisor.pipes import BEAT, BEAT_S, hold, say


def main(arguments: Sequence[str] | None = None) -> None:
    """Work until told to stop, or until the supervisor is gone."""
    options = _options(arguments)
    _log_to_standard_output(daemon=options.daemon)
    from twisted.internet import reactor  # noqa: PLC0415 - after the log has been set up

    path, node = Path(options.config), options.node

    def read() -> Settings:
        settings = load(path, os.environ)
        settings._node = node
        return settings

    launch = Launch(None)
    settings, parts = built(reactor, read, launch, foreground=not options.daemon)
    given = dict(_pair(one) for one in options.listener)
    parts.inherited = Inherited(given, options.monitor)
    relay = Relay(reactor, read, settings, parts, launch, say)
    _run(reactor, relay)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="mta.worker", description=__doc__)
    parser.add_argument("--config", required=True)
    parser.add_argument("--node", required=True)
    parser.add_argument("--daemon", action="store_true")
    parser.add_argument("--listener", action="append", default=[])
    parser.add_argument("--monitor", type=int)
    return parser.parse_args(arguments)


def _pair(text: str) -> tuple[str, int]:
    name, _, descriptor = text.rpartition("=")
    return name, int(descriptor)


def _log_to_standard_output(*, daemon: bool) -> None:
    """Write Twisted's log as twistd does; of a daemon its supervisor dates the lines."""
    observer = textFileLogObserver(sys.stdout)
    if daemon:
        observer = FileLogObserver(sys.stdout, _undated)
    globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False)


def _undated(event: Any) -> str:
    text = eventAsText(event, includeTimestamp=False, includeSystem=False)
    return f"{text}\n" if text else ""


def _run(reactor: Any, relay: Relay) -> None:
    """Run the reactor; however often we are told to stop, we stop once."""
    stopping = False

    def stop() -> None:
        nonlocal stopping
        if not stopping:
            stopping = True
            reactor.stop()

    def told(number: int, frame: FrameType | None) -> None:
        reactor.callFromThread(stop)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, told)
    hold(lambda: reactor.callFromThread(stop))
    relay.privilegedStartService()
    relay.startService()
    reactor.addSystemEventTrigger("before", "shutdown", relay.stopService)
    beating = LoopingCall(say, BEAT)
    beating.clock = reactor
    beating.start(BEAT_S)
    reactor.run(installSignalHandlers=False)


if __name__ == "__main__":
    main()
