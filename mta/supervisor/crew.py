"""All workers: started, heard, started again when they die, told to reload, ended.

A worker that dies is started again at once; if it goes on dying, with pauses that grow to a bound
(``restarts``), and an alarm.  One that is not ready ``START_S`` after its start is killed and
counts as dead, and so does one that has not said for ``SILENT_S`` that its reactor runs: a process
that hangs accepts connections and never greets.  Until all have been ready once, a worker that
ends by saying that it cannot run (``sysexits.h``), or whose program cannot be run at all, ends the
whole start.

What it knowingly does not do: see that a worker does nothing although its reactor runs.
"""

import errno
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGHUP, SIGKILL, SIGTERM, Signals
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall

from mta.launch import EX_CANTCREAT, EX_CONFIG, EX_UNAVAILABLE
from mta.mail.events import Emit, Note
from mta.supervisor.pipes import BEAT, FIRST_SOCKET
from mta.supervisor.register import Register
from mta.supervisor.restarts import STEADY_S, Restarts
from mta.supervisor.run import Run, pipes
from mta.supervisor.sockets import Sockets

START_S = 120.0
STOP_S = 80.0  # above the bounds of a worker's stop; systemd's TimeoutStopSec is above this
SILENT_S = 30.0  # several beats: a worker that is slow lives
DOUBT_S = 2.0  # for beats to be read that have come while we ourselves were stopped
KILLED_S = 5.0  # until a killed process is gone
_CANNOT_RUN = {EX_UNAVAILABLE, EX_CANTCREAT, EX_CONFIG}
_LASTING = {errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR, errno.ENOEXEC}
# Not for workers: what systemd tells the one process that it has started
_NOT_INHERITED = ("NOTIFY_SOCKET", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID")


@dataclass(eq=False)
class _Post:
    """The place of one worker: its run changes, its name does not."""

    number: int
    node: str
    restarts: Restarts = field(default_factory=Restarts)
    run: Run | None = None
    timer: IDelayedCall | None = None  # the next start, or what waits for the run to be ready
    silent: IDelayedCall | None = None  # what waits for a sign of life

    def cancel(self) -> None:
        for timer in (self.timer, self.silent):
            if timer is not None and timer.active():
                timer.cancel()
        self.timer = self.silent = None


class Crew:
    """The workers ``node/1`` to ``node/N``."""

    def __init__(  # noqa: PLR0913 - what it is built of
        self,
        reactor: Any,
        config: Path,
        nodes: list[str],
        sockets: Sockets,
        register: Register,
        emit: Emit,
        *,
        daemon: bool,
        obstacle: Callable[[], str],
    ) -> None:
        """``obstacle`` says why no worker can be started now; "" if nothing is in the way."""
        self._reactor = reactor
        self._config = config
        self._posts = [_Post(number, node) for number, node in enumerate(nodes, 1)]
        self._sockets = sockets
        self._register = register
        self._emit = emit
        self._daemon = daemon
        self._obstacle = obstacle
        self._reloading: set[Run] = set()
        self._complete = False  # all have been ready
        self._stopping = False
        self._gone: Deferred[None] = Deferred()
        self.when_complete: Callable[[], None] = lambda: None
        self.when_reloaded: Callable[[], None] = lambda: None
        self.when_hopeless: Callable[[int, str], None] = lambda status, words: None

    def start(self) -> None:
        """Start all workers."""
        for post in self._posts:
            if not self._stopping:
                self._start(post)

    def _start(self, post: _Post) -> None:
        post.timer = None
        obstacle = self._obstacle()
        if obstacle:
            self._again(post, f"cannot start: {obstacle}")
            return
        run = Run(self._said, lambda run, status, words: self._ended(post, run, status, words))
        try:
            self._spawn(post, run)
        except OSError as error:
            words = f"cannot start: {sys.executable}: {error.strerror}"
            if error.errno in _LASTING and not self._complete:
                self._give_up(post, words, EX_UNAVAILABLE)
            else:
                self._again(post, words)
            return
        post.run = run
        post.timer = self._reactor.callLater(START_S, run.signal, SIGKILL)
        self._tell_down()

    def _spawn(self, post: _Post, run: Run) -> None:
        descriptors = self._sockets.descriptors(post.number)
        nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        inherited = pipes(self._daemon, nothing)
        command = [sys.executable, "-P", "-m", "mta.worker"]
        command += [f"--config={self._config}", f"--node={post.node}"]
        command += ["--daemon"] if self._daemon else []
        for number, (option, descriptor) in enumerate(descriptors.items(), FIRST_SOCKET):
            inherited[number] = descriptor
            command.append(f"{option}={number}")
        environment = {k: v for k, v in os.environ.items() if k not in _NOT_INHERITED}
        try:
            self._reactor.spawnProcess(
                run, sys.executable, command, environment, None, childFDs=inherited
            )
        finally:
            os.close(nothing)

    def _said(self, run: Run, line: str) -> None:
        post = next((one for one in self._posts if one.run is run), None)
        if post is None:
            return
        if line == BEAT and run.ready and not self._stopping:
            self._lives(post)
        elif line == "READY=1":
            self._is_ready(post, run)

    def _lives(self, post: _Post) -> None:
        """A sign of life: wait for the next one."""
        if post.silent is not None and post.silent.active():
            post.silent.cancel()
        post.silent = self._reactor.callLater(SILENT_S, self._doubt, post)

    def _doubt(self, post: _Post) -> None:
        post.silent = self._reactor.callLater(DOUBT_S, self._hangs, post)

    def _hangs(self, post: _Post) -> None:
        post.silent = None
        if post.run is None or self._stopping:
            return
        text = f"worker {post.node} [{post.run.pid}] hangs, silent for {SILENT_S:g} s: it is killed"
        self._emit(Note("error", "service", text))
        post.run.signal(SIGKILL)

    def _is_ready(self, post: _Post, run: Run) -> None:
        if run.ready:
            self._reloaded(run)
            return
        run.ready = True
        post.cancel()
        post.timer = self._reactor.callLater(STEADY_S, self._steady, post)
        self._lives(post)
        if not self._complete and all(one.run and one.run.ready for one in self._posts):
            self._complete = True
            self.when_complete()
        if run in self._reloading:
            run.signal(SIGHUP)

    def _steady(self, post: _Post) -> None:
        post.timer = None
        if post.restarts.alarming:
            self._register.alarm(post.number, "")
            self._emit(Note("info", "service", f"worker {post.node} is steady again"))
        post.restarts.steady()

    def _ended(self, post: _Post, run: Run, status: int, words: str) -> None:
        post.run = None
        post.cancel()
        self._reloaded(run)
        self._register.bury(post.node, run.pid)
        if self._stopping:
            self._look_who_is_left()
        elif not self._complete and status in _CANNOT_RUN:
            self._give_up(post, f"cannot run: {words}", status)
        else:
            self._again(post, f"[{run.pid}] ended: {words}")

    def _give_up(self, post: _Post, words: str, status: int) -> None:
        """End a start that this worker has shown to be impossible."""
        self._stopping = True
        text = f"worker {post.node} {words}"
        self._emit(Note("error", "service", text))
        self.when_hopeless(status, text)

    def _again(self, post: _Post, words: str) -> None:
        """Start a worker again that is not there, for a reason that ``words`` say."""
        pause_s = post.restarts.died()
        when = f"in {pause_s:g} s" if pause_s else "at once"
        text = f"worker {post.node} {words}; it is started again {when}"
        alarming = post.restarts.alarming
        if alarming:
            text += f" ({post.restarts.deaths} times in a row)"
            self._register.alarm(post.number, text)
        self._emit(Note("error" if alarming else "warning", "service", text))
        post.timer = self._reactor.callLater(pause_s, self._start, post)
        self._tell_down()

    def _tell_down(self) -> None:
        self._register.down(post.node for post in self._posts if post.run is None)

    def _runs(self) -> Iterator[Run]:
        yield from (post.run for post in self._posts if post.run is not None)

    def reload(self) -> None:
        """Have every worker read the configuration anew.

        One that is starting may have read it already, and would die of the signal: it gets it
        when it is ready.
        """
        self._reloading = set(self._runs())
        for run in self._reloading:
            if run.ready:
                run.signal(SIGHUP)
        if not self._reloading:
            self.when_reloaded()

    def _reloaded(self, run: Run) -> None:
        if run in self._reloading:
            self._reloading.discard(run)
            if not self._reloading:
                self.when_reloaded()

    def stop(self) -> Deferred[None]:
        """End all workers in order, those who take too long by force; fires when all are gone."""
        self._stopping = True
        for post in self._posts:
            post.cancel()
        if not any(self._runs()):
            return succeed(None)
        self._signal(SIGTERM)
        kill = self._reactor.callLater(STOP_S, self._kill)
        return self._gone.addCallback(lambda _: kill.cancel() if kill.active() else None)

    def _kill(self) -> None:
        for post in self._posts:
            if post.run is not None:
                text = f"worker {post.node} [{post.run.pid}] does not end: it is killed"
                self._emit(Note("error", "service", text))
        self._signal(SIGKILL)
        self._reactor.callLater(KILLED_S, self._left)

    def _signal(self, number: Signals) -> None:
        for run in list(self._runs()):
            run.signal(number)

    def _look_who_is_left(self) -> None:
        if not any(self._runs()):
            self._left()

    def _left(self) -> None:
        if not self._gone.called:
            self._gone.callback(None)
