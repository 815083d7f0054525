"""Clients that send without pause, and remember what they were promised."""

import smtplib
import threading

CLIENTS = 4
LINES = f"{'x' * 70}\r\n" * 30


class Load:
    """Clients that send without pause and note what was answered 250."""

    def __init__(self, port: int, domains: tuple[str, ...] = ("there.test", "home.test")) -> None:
        self._port = port
        self._domains = domains
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._number = 0
        self.accepted: set[str] = set()
        self._threads = [threading.Thread(target=self._client) for _ in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def _next(self) -> str:
        with self._lock:
            self._number += 1
            return f"n{self._number}"

    def _client(self) -> None:
        while not self._stop.is_set():
            try:
                with smtplib.SMTP("127.0.0.1", self._port, timeout=10) as client:
                    while not self._stop.is_set():
                        self._send(client, self._next())
            except (OSError, smtplib.SMTPException):
                self._stop.wait(0.05)  # the service is down: try again in a moment

    def _send(self, client: smtplib.SMTP, subject: str) -> None:
        number = int(subject[1:])
        do = "replace-large" if number % 20 == 0 else "shout" if number % 2 else "nothing"
        text = f"From: app@home.test\r\nSubject: {subject}\r\nX-Do: {do}\r\n\r\n{LINES}"
        recipients = [f"{subject}@{domain}" for domain in self._domains]
        client.sendmail("app@home.test", recipients, text)
        with self._lock:
            self.accepted.add(subject)

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)


def plain_listener(port: int) -> str:
    return f"""
[[listener]]
name = "load"
endpoint = "tcp:{port}:interface=127.0.0.1"
tls = "none"
auth = "none"
trusted_networks = ["127.0.0.0/8"]

[retry]
steps = ["1s"]
"""
