"""Clients that send without pause while something is broken, and note every answer they get."""

import smtplib
import threading
from collections import Counter


class Witness:
    """``accepted`` is what was answered 250; ``answers`` counts the other replies, by code."""

    def __init__(
        self,
        port: int,
        *,
        clients: int = 4,
        domains: tuple[str, ...] = ("there.test",),
        size: int = 2000,
        pause_s: float = 0.0,
        timeout_s: float = 90.0,
        prefix: str = "n",
        anew: bool = False,
    ) -> None:
        """Each client waits ``pause_s`` between two messages of some ``size`` octets.

        ``anew``: each message comes over a connection of its own.
        """
        self._port = port
        self._domains = domains
        self._pause_s = pause_s
        self._prefix = prefix
        self._anew = anew
        self._timeout_s = timeout_s
        self._lines = f"{'x' * 70}\r\n" * (size // 72)
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._number = 0
        self.accepted: set[str] = set()
        self.answers: Counter[int] = Counter()
        self.lost = 0  # connections that could not be made, or broke
        self._threads = [threading.Thread(target=self._client) for _ in range(clients)]
        for thread in self._threads:
            thread.start()

    @property
    def recipients(self) -> set[str]:
        """Every recipient that must get mail, for what was answered 250."""
        with self._lock:
            accepted = list(self.accepted)
        return {f"{subject}@{domain}" for subject in accepted for domain in self._domains}

    @property
    def temporary(self) -> int:
        """How many answers were 4xx."""
        return sum(count for code, count in self.answers.items() if 400 <= code < 500)

    @property
    def permanent(self) -> int:
        """How many answers were 5xx: there must be none, since nothing sent is at fault."""
        return sum(count for code, count in self.answers.items() if code >= 500)

    def stop(self) -> None:
        """Send no more; returns when all clients have ended."""
        self._stop.set()
        for thread in self._threads:
            thread.join(self._timeout_s + 10)

    def _client(self) -> None:
        while not self._stop.is_set():
            try:
                with smtplib.SMTP("127.0.0.1", self._port, timeout=self._timeout_s) as client:
                    while not self._stop.wait(self._pause_s):
                        self._send(client)
                        if self._anew:
                            break
            except smtplib.SMTPServerDisconnected:
                self._broken()
            except smtplib.SMTPRecipientsRefused as refused:
                self._refused(next(iter(refused.recipients.values()))[0])
            except smtplib.SMTPResponseException as refused:
                self._refused(refused.smtp_code)
            except OSError:
                self._broken()

    def _send(self, client: smtplib.SMTP) -> None:
        with self._lock:
            self._number += 1
            subject = f"{self._prefix}{self._number}"
        text = f"From: app@home.test\r\nSubject: {subject}\r\n\r\n{self._lines}"
        client.sendmail("app@home.test", [f"{subject}@{one}" for one in self._domains], text)
        with self._lock:
            self.accepted.add(subject)

    def _refused(self, code: int) -> None:
        with self._lock:
            self.answers[code] += 1
        self._stop.wait(0.1)

    def _broken(self) -> None:
        with self._lock:
            self.lost += 1
        self._stop.wait(0.1)
