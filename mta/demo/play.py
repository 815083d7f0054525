"""The demonstration, scene by scene; ends with status 0 only if every scene happened."""

import shlex
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.rule import Rule
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater, react
from twisted.internet.threads import deferToThread

from mta.demo.narrator import Narrator
from mta.demo.stage import LOGIN, Stage, set_stage, show, submit
from mta.demo.world import HOME, PATIENT, PROMPT, REFUSING, World, open_world

SENDER = f"app@{HOME}"
_PATIENCE_S = 25.0
_STEP_S = 0.05


class NotSeen(Exception):
    """A scene did not happen in time; the text says which."""


def run(keep: bool = False, colour: bool | None = None) -> int:
    """Play the demonstration and return its exit status.

    ``keep`` stays up afterwards until interrupted.  ``colour`` overrides what the
    terminal suggests.
    """
    console = Console(
        force_terminal=colour, no_color=colour is False, highlight=False, soft_wrap=True
    )

    async def main(reactor: Any) -> None:
        with tempfile.TemporaryDirectory(prefix="mta-demo-") as directory:
            play = Play(reactor, console, Path(directory), keep)
            try:
                await play.act()
            finally:
                await play.end()

    try:
        react(lambda reactor: Deferred.fromCoroutine(main(reactor)))
    except SystemExit as finished:
        return int(finished.code or 0)


class Play:
    """What the scenes share."""

    def __init__(self, reactor: Any, console: Console, directory: Path, keep: bool) -> None:
        """Play in ``directory``."""
        self._reactor = reactor
        self._console = console
        self._keep = keep
        self._world: World = open_world(reactor, directory)
        self._stage: Stage = set_stage(directory, self._world)
        self._narrator = Narrator(console, directory / "mail.jsonl")
        # A signal ends the reactor and with it the scenes: the service must not outlive them.
        reactor.addSystemEventTrigger("before", "shutdown", deferToThread, self._stage.stop)

    async def act(self) -> None:
        """All scenes in their order."""
        try:
            await self._scenes()
        except (NotSeen, OSError) as problem:
            self._console.print(f"\nThis did not happen: {problem}", style="bold red")
            self._console.print(self._stage.output.read_text(errors="replace"), style="dim")
            raise SystemExit(1) from problem

    async def _scenes(self) -> None:
        self._title("The relay starts: twistd -n mta --config mta.toml")
        self._stage.start()
        await self._until(lambda: self._seen("Note", "part", "service"), "the service starts")
        self._say(f"SMTPS on localhost:{self._stage.smtps_port}, one account, SQLite spool.")
        self._title("Three messages go in over SMTPS")
        for domain, why in (
            (PROMPT, "takes mail at once"),
            (PATIENT, "defers a stranger's first attempt"),
            (REFUSING, "knows no such user"),
        ):
            await self._submit(f"ann@{domain}", why)
        self._title("What becomes of them")
        await self._delivered(PROMPT, "the prompt host has its message")
        await self._until(lambda: bool(self._deferred()), "the greylisting host defers")
        await self._mta("queue", "list")
        await self._delivered(HOME, "the sender has the report about the refused message")
        await self._delivered(PATIENT, "the greylisting host has its message on the retry")
        await self._until(self._all_finished, "every message has left the queue")
        self._check_report()
        await self._mta("trace", self._deferred()[0]["id"])
        self._title("Done: one delivered, one deferred and then delivered, one bounced")
        if self._keep:
            await self._stay()

    async def _submit(self, recipient: str, why: str) -> None:
        self._say(f"{SENDER} writes to {recipient}, whose host {why}")
        version = await deferToThread(submit, self._stage, SENDER, recipient, "A demonstration")
        self._narrator.follow()
        self._say(f"the client verified the certificate, spoke {version} and was told 250")

    async def _delivered(self, domain: str, what: str) -> None:
        await self._until(lambda: bool(self._world.mailboxes[domain].received), what)

    def _all_finished(self) -> bool:
        kinds = [event["type"] for event in self._narrator.events]
        return kinds.count("Finished") == kinds.count("Reception") >= 4

    def _check_report(self) -> None:
        report = self._world.mailboxes[HOME].received[0]
        if b"Action: failed" not in report.lines or report.sender:
            raise NotSeen("the report has a null sender and says Action: failed")

    def _deferred(self) -> list[dict[str, Any]]:
        return [e for e in self._narrator.events if e["type"] == "TransientFailure"]

    async def _mta(self, *arguments: str) -> None:
        self._title("mta " + shlex.join(arguments))
        status = await deferToThread(show, self._stage, sys.stdout, *arguments)
        if status != 0:
            raise NotSeen(f"mta {shlex.join(arguments)} shows something (status {status})")
        self._console.print()

    async def _stay(self) -> None:
        stage = self._stage
        where = f"localhost:{stage.smtps_port}"
        self._title("Send your own; Ctrl-C ends")
        self._console.print(
            f"swaks --server localhost --port {stage.smtps_port} --tls-on-connect "
            f"--tls-verify --tls-ca-path {stage.certificate} --auth PLAIN --auth-user {LOGIN} "
            f"--auth-password {stage.password} --from {SENDER} --to ann@{PROMPT}\n"
        )
        self._console.print(
            f"printf 'From: {SENDER}\\nTo: ann@{PATIENT}\\nSubject: hello\\n\\nhello\\n' | "
            f"curl --url smtps://{where} --cacert {stage.certificate} "
            f"--user {LOGIN}:{stage.password} --mail-from {SENDER} --mail-rcpt ann@{PATIENT} "
            "--upload-file - --crlf\n"
        )
        mta = f"{Path(sys.executable).parent / 'mta'} --config {stage.configuration}"
        self._console.print(f"{mta} queue list\n\n{mta} trace ann@{PATIENT}\n")
        while True:
            await self._pause()

    async def end(self) -> None:
        """Stop the service."""
        status = await deferToThread(self._stage.stop)
        if status != 0:
            self._console.print(f"the service ended with status {status}", style="bold red")
            raise SystemExit(1)

    async def _until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = self._reactor.seconds() + _PATIENCE_S
        while not condition():
            process = self._stage.process
            if process is not None and process.poll() is not None:
                raise NotSeen(f"{what} (the service ended with {process.returncode})")
            if self._reactor.seconds() > deadline:
                raise NotSeen(what)
            await self._pause()

    async def _pause(self) -> None:
        await deferLater(self._reactor, _STEP_S, lambda: None)
        self._narrator.follow()

    def _seen(self, kind: str, key: str, value: str) -> bool:
        return any(e["type"] == kind and e.get(key) == value for e in self._narrator.events)

    def _title(self, text: str) -> None:
        if self._console.is_terminal:
            self._console.print(Rule(text, align="left", style="bold blue"))
        else:
            self._console.print(f"\n== {text}")

    def _say(self, text: str) -> None:
        self._console.print(f"  {text}")
