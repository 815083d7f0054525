"""The service that ``twistd`` runs where there are several workers: it does no mail itself.

It checks the configuration, binds the sockets, sees to the spool's schema once, starts the
workers and watches them (``crew``).  systemd is told that the service is ready when all workers
are.  SIGHUP and SIGTERM go on to all of them; a configuration that is wrong is not passed on.

Trusts the same as a single process does, and its own children.

What it knowingly does not do: change the number of workers, or the ports, without a restart.
"""

import os
import signal
from pathlib import Path
from types import FrameType
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall

from mta import __version__
from mta.config.build import node_name
from mta.config.build_log import sinks
from mta.config.load import load
from mta.config.problems import ConfigError
from mta.config.restart import needs_restart
from mta.config.settings import Settings
from mta.config.workers import worker_nodes
from mta.launch import EX_UNAVAILABLE, Launch, StartFailed
from mta.log.mail_log import MailLog
from mta.mail.events import Note
from mta.readiness import notify, reloading
from mta.spool.clock import SpoolClock
from mta.spool.database import Database
from mta.spool.engine import prepare
from mta.spool.errors import SpoolUnavailable, SpoolUnusable
from mta.supervisor.crew import START_S, Crew
from mta.supervisor.register import Register
from mta.supervisor.sockets import Sockets

RELOAD_S = 60.0  # how long systemd waits, at most, to hear that a reload is over


class Supervisor(Service):
    """The running supervisor."""

    def __init__(self, reactor: Any, path: Path, settings: Settings, launch: Launch) -> None:
        """Supervise workers that work by the file ``path``, which was read as ``settings``."""
        self.setName("mta")
        self._reactor = reactor
        self._path = path
        self._settings = self._started_with = settings
        self._launch = launch
        self._log = MailLog(reactor)
        self._database = Database(settings.spool.url, reactor, readers=1, emit=self._log)
        self._sockets = Sockets(reactor)
        nodes = worker_nodes(settings)
        node = node_name(settings)
        clock = SpoolClock(reactor, self._log, settings.spool.url)
        self._register = Register(reactor, self._database, node, len(nodes), self._log, clock)
        self._crew = Crew(
            reactor, path, nodes, self._sockets, self._register, self._log,
            daemon=not launch.foreground, obstacle=self._obstacle,
        )  # fmt: skip
        self._workers = len(nodes)
        self._late: IDelayedCall | None = None

    def privilegedStartService(self) -> None:
        """Bind the ports, while that is still permitted."""
        super().privilegedStartService()
        try:
            self._sockets.bind(self._settings, self._workers)
        except StartFailed as error:
            self._launch.refuse(str(error), error.status)

    def startService(self) -> None:
        """Check the spool, open the log, and start the workers as the user of now."""
        try:
            self._open()
        except StartFailed as error:
            self._launch.refuse(str(error), error.status)
        super().startService()
        signal.signal(signal.SIGHUP, self._hangup)
        self._database.start()
        self._register.lease_s = self._settings.queue.lease.total_seconds()
        self._register.start()
        self._crew.when_complete = self._ready
        self._crew.when_reloaded = self._reloaded
        self._crew.when_hopeless = self._hopeless
        self._reactor.callWhenRunning(self._crew.start)
        self._reactor.callLater(START_S, self._launch.succeeded)

    def _open(self) -> None:
        try:
            prepare(self._settings.spool.url, migrate=self._settings.spool.upgrade_at_start)
        except (SpoolUnusable, SpoolUnavailable) as error:
            raise StartFailed(str(error), EX_UNAVAILABLE) from error
        self._log.use(*sinks(self._settings, foreground=self._launch.foreground))

    def _obstacle(self) -> str:
        """Say why no worker can be started by the file as it is now.

        One in another spool than its fellows would be a relay of its own, which nobody wants.
        """
        try:
            settings = load(self._path, os.environ)
        except ConfigError as error:
            return str(error).splitlines()[0]
        changed = needs_restart(self._started_with, settings)
        return "spool.url has changed: restart to use it" if "spool.url" in changed else ""

    def _ready(self) -> None:
        ports = ", ".join(self._sockets.places())
        text = f"mta {__version__} started with {self._workers} workers, listening on {ports}"
        self._log(Note("info", "service", text))
        notify(f"READY=1\nSTATUS={self._workers} workers, listening on {ports}")
        self._launch.succeeded()

    def _hopeless(self, status: int, words: str) -> None:
        """End a start that a worker has shown to be impossible."""
        if not self._launch.foreground:  # there the log has told it already
            self._launch.say(words)
        after = self._reactor.addSystemEventTrigger
        after("after", "shutdown", self._launch.leave, status)
        self._reactor.stop()

    def _hangup(self, number: int, frame: FrameType | None) -> None:
        self._reactor.callFromThread(self.reload)

    def reload(self) -> None:
        """Read the configuration, and have the workers read it if it is right."""
        notify(reloading())
        try:
            settings = load(self._path, os.environ)
            if settings.log != self._settings.log:
                self._log.use(*sinks(settings, foreground=self._launch.foreground))
        except (ConfigError, StartFailed) as error:
            for line in str(error).splitlines():
                text = f"not reloaded, the old configuration stays: {line}"
                self._log(Note("error", "service", text))
            notify("READY=1")
            return
        self._settings = settings
        self._register.lease_s = settings.queue.lease.total_seconds()
        if self._late is None:
            self._late = self._reactor.callLater(RELOAD_S, self._reloaded)
        self._crew.reload()

    def _reloaded(self) -> None:
        if self._late is not None and self._late.active():
            self._late.cancel()
        self._late = None
        notify("READY=1")

    def stopService(self) -> Deferred[None]:
        """End the workers, then what is ours; fires when the process may end."""
        if not self.running:
            return succeed(None)
        super().stopService()
        notify("STOPPING=1")
        self._log(Note("info", "service", f"stopping {self._workers} workers"))
        if self._late is not None and self._late.active():
            self._late.cancel()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        gone = self._crew.stop()  # they close their descriptors at once, and so do we
        await self._sockets.close()
        await gone
        await self._register.stop()
        await self._database.stop()
        self._log(Note("info", "service", "stopped"))
        self._log.close()
