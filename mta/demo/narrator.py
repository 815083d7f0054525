"""Tell a person what the relay's own JSON log says, as it says it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

_STYLES = {
    "Reception": ("accepted", "cyan"),
    "Delivery": ("delivered", "green"),
    "TransientFailure": ("deferred", "yellow"),
    "Bounce": ("bounced", "red"),
    "Expiration": ("expired", "red"),
    "Report": ("report", "magenta"),
    "Finished": ("finished", "dim"),
}


class Narrator:
    """Follows the JSON log and prints a line for each event about a message."""

    def __init__(self, console: Console, log: Path) -> None:
        """Print on ``console`` what appears in ``log``, which need not exist yet."""
        self._console = console
        self._log = log
        self._read = 0
        self.events: list[dict[str, Any]] = []

    def follow(self) -> None:
        """Print what is new."""
        for event in self._fresh():
            self.events.append(event)
            if event["type"] in _STYLES:
                self._console.print(self._line(event))

    def _fresh(self) -> Iterator[dict[str, Any]]:
        if not self._log.exists():
            return
        with self._log.open("rb") as log:
            log.seek(self._read)
            for line in log:
                if not line.endswith(b"\n"):
                    return
                self._read += len(line)
                yield json.loads(line)

    def _line(self, event: dict[str, Any]) -> Text:
        word, style = _STYLES[event["type"]]
        line = Text("  ")
        line.append(f"{word:>9}", style=f"bold {style}")
        line.append(f"  {event['id']}  ", style="dim")
        line.append(_describe(event))
        return line


def _describe(event: dict[str, Any]) -> str:
    kind = event["type"]
    if kind == "Reception":
        return _reception(event)
    if kind == "Report":
        return f"{event['kind']} report to the sender, as message {event['report_id']}"
    if kind == "Finished":
        return "nothing of this message is left in the queue"
    return _attempt(event)


def _reception(event: dict[str, Any]) -> str:
    recipients = ", ".join(event["recipients"])
    if event["kind"] == "dsn":
        return f"<> -> {recipients} (a report of the relay's own)"
    how = f"{event['reception_protocol']}, {event['reception_tls'] or 'in the clear'}"
    return f"{event['sender']} -> {recipients} ({how}, login {event['login'] or 'none'})"


def _attempt(event: dict[str, Any]) -> str:
    response = event["response"]
    said = " ".join(
        str(part)
        for part in (response["code"] or "", response["enhanced_code"], response["content"])
        if part
    )
    where = "no host reached"
    if "peer_name" in event:
        where = f"MX {event['peer_name']} [{event['peer_address']}]:{event['peer_port']}"
        where += f", TLS {event['tls_level']}"
        where += f" ({event['tls_version']})" if event["tls_version"] else ""
    again = ""
    if event["type"] == "TransientFailure":
        seconds = (event["next_attempt_ms"] - event["event_time_ms"]) / 1000
        again = f"; next attempt in {seconds:.1f} s"
    return f"{event['recipient']} at {where}: {said}{again}"
