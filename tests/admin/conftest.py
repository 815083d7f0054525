"""What the tests of the command line share: a configured spool, mail in it, and ``mta``."""

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import warm
from click.testing import CliRunner, Result

from mta.admin.cli import cli
from mta.admin.invocation import Invocation
from mta.mail.envelope import Envelope, Origin, Recipient
from mta.mail.outcome import Outcome, Peer, Timing, Tls, TlsLevel, Verdict
from mta.mail.queue_id import QueueId, new_queue_id
from mta.spool import intake, leases, outcomes
from mta.spool.engine import create_engine, reading, writing
from mta.spool.intake import Intake
from mta.spool.outcomes import Record, Settled
from mta.spool.schema import State

NOW = 1_800_000_000_000  # 2027-01-15 08:00:00 UTC
TOKEN = "token-of-this-run"
MINUTE = 60_000
BODY = b"From: app\r\nSubject: greetings\r\n\r\nHello\r\n"
PEER = Peer(
    "mx.example.com",
    "192.0.2.7",
    25,
    Tls(
        TlsLevel.ENCRYPTED,
        "TLSv1.3",
        "AES256",
        "self-signed certificate",
        "dane",
        "TLSA records of mx.example.com",
        "would have waited: self-signed certificate",
    ),
    use=2,
)
_WORDS = {
    State.DELIVERED: (Verdict.DELIVERED, 250, "2.0.0", "Ok: queued as 7F", "end of data"),
    State.HELD: (Verdict.DEFERRED, 0, "4.4.2", "the peer closed", "end of data"),
    State.QUEUED: (Verdict.DEFERRED, 451, "4.7.1", "Greylisted, try again", "RCPT"),
    State.BOUNCED: (Verdict.FAILED, 550, "5.1.1", "No such user", "RCPT"),
}


class Relay:
    """A configuration file and its spool, seen from outside and from inside."""

    now = NOW
    body = BODY

    def __init__(self, url: str, directory: Path) -> None:
        self.directory = directory
        self.config = directory / "mta.toml"
        self.config.write_text(
            f'host_name = "relay.example.org"\n[spool]\nurl = "{url}"\n'
            '[[listener]]\nname = "inside"\nendpoint = "127.0.0.1:2525"\ntls = "none"\n'
            'auth = "none"\ntrusted_networks = ["127.0.0.0/8"]\n'
        )
        self.engine = create_engine(url)
        self._numbers = count(1)

    def process(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run ``mta`` as a process of its own: for what runs the reactor."""
        return warm.run("mta", ["--config", str(self.config), *arguments], os.environ)

    def run(
        self, *arguments: str, input: str | None = None, interactive: bool = False, **more: Any
    ) -> Result:
        """Run ``mta`` at the fixed moment; an unexpected exception is raised."""
        invocation = Invocation(
            environ={},
            now_ms=lambda: more.get("now_ms", NOW),
            interactive=lambda: interactive,
            who=lambda: "anna",
            zone=UTC,
        )
        return CliRunner(catch_exceptions=False).invoke(
            cli, ["--config", str(self.config), *arguments], input=input, obj=invocation
        )

    def json(self, *arguments: str) -> list[Any]:
        """Run ``mta ... --json`` and return the objects that it writes."""
        result = self.run(*arguments, "--json")
        assert result.exit_code == 0, result.output
        return [json.loads(line) for line in result.stdout.splitlines()]

    def write(self, fn: Any, *args: Any) -> Any:
        """Run ``fn`` in a transaction of its own."""
        with writing(self.engine) as conn:
            return fn(conn, *args)

    def read(self, fn: Any, *args: Any) -> Any:
        """Run ``fn`` in a reading transaction."""
        with reading(self.engine) as conn:
            return fn(conn, *args)

    def states(self, *messages: str) -> list[str]:
        """Return the states of the recipients of these messages."""
        ids = ", ".join(f"'{message}'" for message in messages)
        sql = (
            f"SELECT state FROM recipients WHERE message_id IN ({ids}) ORDER BY message_id, number"
        )
        return [row[0] for row in self.read(lambda conn: conn.exec_driver_sql(sql).all())]

    def events(self) -> list[tuple[Any, ...]]:
        """Return all audit rows: message, recipient, moment, verb, who."""
        sql = "SELECT message_id, recipient, at_ms, verb, who FROM events ORDER BY id"
        return [tuple(row) for row in self.read(lambda conn: conn.exec_driver_sql(sql).all())]

    def accept(
        self, *addresses: str, claim: bool = False, notify: str = "", **changes: Any
    ) -> QueueId:
        """Take a message in; ``changes`` are fields of its envelope."""
        created = changes.get("created_ms", NOW - 60 * MINUTE)
        number = next(self._numbers)
        message_id = new_queue_id(created, lambda _: number)
        envelope = Envelope(
            id=message_id,
            sender="app@example.org",
            size=len(BODY),
            created_ms=created,
            expires_ms=created + 5 * 86_400_000,
            message_id=f"<{number}@example.org>",
            origin=Origin(
                "submissions", "192.0.2.1", "laptop", "app7", "ESMTPSA", "TLSv1.3 AES256"
            ),
        )
        held = changes.pop("held", "")
        item = Intake(
            replace(envelope, **changes),
            tuple(
                Recipient(n, address, address.rpartition("@")[2].lower(), int(claim), notify=notify)
                for n, address in enumerate(addresses or ("anna@example.com",))
            ),
            (BODY,),
            NOW + 10 * MINUTE if claim else created,
            TOKEN if claim else None,
            held=held,
        )
        self.write(intake.accept, [item])
        return message_id

    def settle(
        self,
        message_id: QueueId,
        *states: State,
        text: str = "",
        transcript: str = "",
        **changes: Any,
    ) -> None:
        """Record an attempt, the first one, for the recipients 0, 1, ... of a claimed message."""
        settled = []
        for number, state in enumerate(states):
            verdict, code, enhanced, words, command = _WORDS[state]
            outcome = Outcome(
                number,
                verdict,
                code,
                enhanced,
                text or words,
                command,
                peer=PEER,
                timing=Timing(0.25, 0.5),
                transcript=transcript,
            )
            recipient = Recipient(number, "", "", 1)
            settled.append(Settled(recipient, outcome, state, NOW + 5 * MINUTE))
        started = NOW - 30 * MINUTE
        record = Record(message_id, TOKEN, "node1", started, started + 800, tuple(settled))
        self.write(outcomes.record, [replace(record, **changes)])

    def register(self, lease_ms: int = 60_000, **about: str) -> None:
        """Let a process have a lease."""
        now = NOW - 10 * MINUTE
        self.write(leases.register_node, "node1", TOKEN, now, 10 * MINUTE + lease_ms, about)


@pytest.fixture
def relay(spool_url: str, tmp_path: Path) -> Iterator[Relay]:
    """Give a relay, once on each database."""
    made = Relay(spool_url, tmp_path)
    yield made
    made.engine.dispose()


@pytest.fixture
def local(sqlite_url: str, tmp_path: Path) -> Iterator[Relay]:
    """Give a relay on SQLite, for what does not depend on the database."""
    made = Relay(sqlite_url, tmp_path)
    yield made
    made.engine.dispose()
