"""A receiving mail host on loopback: aiosmtpd in a thread, so a stranger to our code."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session
from relay_process import PATIENCE_S, free_port


class Receiver:
    """Keeps what it is sent; ``judge(recipient)`` may refuse a recipient with a reply line."""

    def __init__(
        self,
        judge: Callable[[str], str | None] = lambda recipient: None,
        *,
        address: str = "127.0.0.1",
        port: int = 0,
        **options: Any,
    ):
        self._judge = judge
        self._changed = threading.Condition()
        self.envelopes: list[tuple[str, tuple[str, ...], bytes]] = []
        self.clients: list[tuple[str, float]] = []  # of each, by whom and when it was brought
        self.port = port or free_port()
        self._controller = Controller(self, hostname=address, port=self.port, **options)
        self._controller.start()

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        refusal = self._judge(address)
        if refusal is not None:
            return refusal
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 Ok"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        assert isinstance(envelope.content, bytes)
        with self._changed:
            self.envelopes.append(
                (
                    (envelope.mail_from or "").removeprefix("<").removesuffix(">"),
                    tuple(envelope.rcpt_tos),
                    envelope.content,
                )
            )
            self.clients.append((session.peer[0] if session.peer else "", time.monotonic()))
            self._changed.notify_all()
        return "250 2.0.0 Ok: taken"

    def wait(self, count: int, timeout_s: float = PATIENCE_S) -> None:
        """Return when ``count`` messages are here; ``AssertionError`` after ``timeout_s``."""
        self.wait_until(lambda: len(self.envelopes) >= count, timeout_s)

    def wait_until(self, condition: Callable[[], bool], timeout_s: float = PATIENCE_S) -> None:
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while not condition():
                left = deadline - time.monotonic()
                assert left > 0, f"{len(self.envelopes)} messages arrived in {timeout_s} s"
                self._changed.wait(left)

    def messages(self) -> list[EmailMessage]:
        """What arrived, parsed; line ends as text has them."""
        return [
            message_from_bytes(one.replace(b"\r\n", b"\n"), policy=policy.default)
            for _, _, one in self.envelopes
        ]

    def subjects(self) -> Counter[str]:
        """How often each subject arrived."""
        return Counter(str(message["Subject"]) for message in self.messages())

    def close(self) -> None:
        self._controller.stop()
