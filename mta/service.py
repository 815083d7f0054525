"""The composition root: builds every part from the settings, joins them, starts and stops.

``parts`` builds; this module is what ``twistd`` sees: one process that does everything, or, where
several workers are wanted, their supervisor (``mta.supervisor``), each of them such a process.
Order of start: settings, certificates and ports are read and bound before privileges are dropped;
the spool is checked after, as the user who will write it; then readiness is announced.  Whatever
is wrong ends the start with one line and a status that says what kind of fault it is (``launch``).

SIGHUP reads configuration and certificates anew, and either all of it comes into force
or none.  Knowingly not done on SIGHUP: other ports, another spool, other name servers and a
few more need a restart (``mta.config.restart``), and the log says so.
"""

import gc
import os
import signal
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, ClassVar

from twisted.application.service import Service
from twisted.internet import udp
from twisted.internet.defer import Deferred, succeed
from twisted.python import log, usage

from mta import __version__
from mta.assembly import build
from mta.config.load import load
from mta.config.problems import ConfigError
from mta.config.restart import needs_restart
from mta.config.settings import Settings
from mta.config.workers import worker_nodes
from mta.dkim.store import KeyUnusable
from mta.launch import EX_CONFIG, Launch, StartFailed
from mta.mail.events import Note
from mta.parts import Parts
from mta.process import prepare
from mta.readiness import notify, reloading
from mta.tls.certificates import CertificateUnusable


class Options(usage.Options):
    """What stands after ``twistd mta``."""

    optParameters: ClassVar[list[list[Any]]] = [
        ["config", "c", os.environ.get("MTA_CONFIG", "/etc/mta/mta.toml"), "configuration file"]
    ]
    synopsis = "--config FILE"


def makeService(options: Options) -> Service:
    """Read the configuration and return the service; called by ``twistd``."""
    from twisted.internet import reactor  # noqa: PLC0415 - twistd has chosen it by now

    path = Path(str(options["config"])).absolute()
    launch = Launch(options.parent)

    def read() -> Settings:
        return load(path, os.environ)

    settings, parts = built(reactor, read, launch, foreground=launch.foreground)
    if worker_nodes(settings):
        # The parts were built to see that they can be; the workers build their own
        from mta.supervisor.supervisor import Supervisor  # noqa: PLC0415 - only who wants it

        return Supervisor(reactor, path, settings, launch)
    return Relay(reactor, read, settings, parts, launch)


def built(
    reactor: Any, read: Callable[[], Settings], launch: Launch, *, foreground: bool
) -> tuple[Settings, Parts]:
    """Make the process ready, read the settings, and build every part; or end the start."""
    prepare(reactor)
    vars(udp)["log"] = _SilentLog()
    try:
        settings = read()
        return settings, build(reactor, settings, foreground=foreground)
    except (ConfigError, CertificateUnusable, KeyUnusable) as error:
        launch.refuse(str(error), EX_CONFIG)
    except StartFailed as error:
        launch.refuse(str(error), error.status)


class _SilentLog:
    """Stands in for ``twisted.python.log`` in Twisted's UDP module.

    A DNS question has a socket of its own, for its random port, and Twisted logs two lines
    for every UDP socket: a busy relay's log would consist of them.
    """

    def __getattr__(self, name: str) -> Any:
        return getattr(log, name)

    def msg(self, *message: object, **event: object) -> None:
        """Drop it: this module has no other messages."""


class Relay(Service):
    """The running relay."""

    def __init__(
        self,
        reactor: Any,
        read: Callable[[], Settings],
        settings: Settings,
        parts: Parts,
        launch: Launch,
        tell: Callable[[str], object] = notify,
    ) -> None:
        """Run ``parts``, built from ``settings``; ``read`` reads them anew.

        ``tell`` is told the states of sd_notify(3).
        """
        self.setName("mta")
        self._reactor = reactor
        self._read = read
        self._tell = tell
        self._started_with = settings  # what needs a restart is still as it was then
        self._parts = parts
        self._launch = launch

    def privilegedStartService(self) -> None:
        """Bind the ports, while that is still permitted."""
        super().privilegedStartService()
        self._or_end(self._parts.listen)

    def startService(self) -> None:
        """Open log and spool as the user that twistd has changed to, and begin to work."""
        self._or_end(self._parts.start)
        super().startService()
        gc.collect()
        gc.freeze()  # what is here now stays: the collector need not look at it ever again
        signal.signal(signal.SIGHUP, self._hangup)
        emit = self._parts.log
        self._warn()
        ports = ", ".join(self._parts.places())
        emit(Note("info", "service", f"mta {__version__} started, listening on {ports}"))
        self._launch.succeeded()
        self._reactor.callWhenRunning(self._tell, f"READY=1\nSTATUS=listening on {ports}")

    def _warn(self) -> None:
        for warning in self._parts.warnings():
            self._parts.log(Note("warning", "service", warning))

    def _or_end(self, step: Any) -> None:
        try:
            step()
        except StartFailed as error:
            self._launch.refuse(str(error), error.status)

    def _hangup(self, number: int, frame: FrameType | None) -> None:
        self._reactor.callFromThread(self.reload)

    def reload(self) -> None:
        """Read configuration and certificates anew; the old ones stay if anything is wrong."""
        self._tell(reloading())
        emit = self._parts.log
        try:
            settings = self._read()
            self._parts.use(settings)
        except (ConfigError, CertificateUnusable, KeyUnusable, StartFailed) as error:
            for line in str(error).splitlines():
                emit(Note("error", "service", f"not reloaded, the old configuration stays: {line}"))
        else:
            for name in needs_restart(self._started_with, settings):
                emit(Note("warning", "service", f"{name} has changed: restart to use it"))
            self._warn()
            emit(Note("info", "service", "configuration and certificates reloaded"))
        self._tell("READY=1")

    def stopService(self) -> Deferred[None]:
        """Stop everything in its order; fires when the process may end."""
        if not self.running:
            return succeed(None)
        super().stopService()
        self._tell("STOPPING=1")
        self._parts.log(Note("info", "service", "stopping"))
        return Deferred.fromCoroutine(self._parts.stop())
