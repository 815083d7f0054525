"""Many connections that say hello and then nothing: a process of its own that holds them.

They come from several addresses of 127.0.0.0/8, for one address has 28 000 ports to call from.
Each is brought as far as ``Hold`` says, a few at the same time, and then left alone until the
process is told to let go.
"""

import os
import socket
import time
from dataclasses import dataclass
from multiprocessing import Pipe, Process
from multiprocessing.connection import Connection as End

import client
from client import Connection, Refused, Talk, Talking, Work, auth_plain

_AT_ONCE = 50


@dataclass(frozen=True, slots=True)
class Hold:
    """How many, to where, and how far."""

    host: str
    port: int
    number: int
    tls: bool = False  # from the first octet
    starttls: bool = False
    login: str = ""
    password: str = ""
    sources: tuple[str, ...] = ("127.0.0.1",)
    message_octets: int = 0  # of one message that each sends before it falls silent
    recipient: str = ""


class Held:
    """The connections while they are held: ``with Held(hold) as held``."""

    def __init__(self, hold: Hold) -> None:
        self._ours, theirs = Pipe()
        self._process = Process(target=_work, args=(hold, theirs), daemon=True)
        self.seconds = 0.0  # that opening them took

    def __enter__(self) -> "Held":
        """Return when all are as far as they shall be."""
        begin = time.monotonic()
        self._process.start()
        word = self._ours.recv()
        self.seconds = time.monotonic() - begin
        if word != "held":
            self._process.join()
            raise Refused(word)
        return self

    def alive(self) -> int:
        """Return how many of them the server has not hung up on."""
        self._ours.send("alive")
        found: int = self._ours.recv()
        return found

    def __exit__(self, *_: object) -> None:
        """Let go of them."""
        self._ours.send("go")
        self._process.join()


def _work(hold: Hold, end: End) -> None:
    try:
        held = _Opening(hold).all()
    except (Refused, OSError) as error:
        end.send(f"{type(error).__name__}: {error}")
        return
    end.send("held")
    while end.recv() == "alive":
        end.send(sum(_open(one) for one in held))
    os._exit(0)  # the kernel closes them at once, which is faster than we are


class _Opening(Talking):
    def __init__(self, hold: Hold) -> None:
        super().__init__()
        self._hold = hold
        self._work = Work(hold.host, hold.port, 1, 1, 0, hold.recipient)
        self._context = client._context() if hold.tls or hold.starttls else None
        self._begun = 0
        self._held: list[Connection] = []
        self._auth = auth_plain(hold.login, hold.password)

    def all(self) -> list[Connection]:
        for _ in range(min(_AT_ONCE, self._hold.number)):
            self._begin()
        self._go_on(lambda: f"{len(self._held)} are held")
        return self._held

    def _begin(self) -> None:
        if self._begun == self._hold.number:
            return
        sources = self._hold.sources
        connection = Connection(self._work, self._context if self._hold.tls else None)
        connection.socket.bind((sources[self._begun % len(sources)], 0))
        self._begun += 1
        self._step(self._talk(connection), connection, 0)

    def _ended(self, connection: Connection) -> None:
        self._epoll.unregister(connection.socket)
        self._held.append(connection)
        self._begin()

    def _talk(self, connection: Connection) -> Talk:
        yield from connection.open()
        yield from connection.ask(b"", b"220")
        yield from connection.ask(b"EHLO client.test\r\n", b"250")
        if self._hold.starttls:
            assert self._context is not None
            yield from connection.ask(b"STARTTLS\r\n", b"220")
            yield from connection._handshake(self._context)
            yield from connection.ask(b"EHLO client.test\r\n", b"250")
        if self._auth:
            yield from connection.ask(self._auth, b"235")
        if self._hold.message_octets:
            yield from connection.ask(b"MAIL FROM:<sender@client.test>\r\n", b"250")
            yield from connection.ask(b"RCPT TO:<%b>\r\n" % self._hold.recipient.encode(), b"250")
            yield from connection.ask(b"DATA\r\n", b"354")
            filling = b"Subject: held\r\n\r\n" + b"X" * self._hold.message_octets
            yield from connection.ask(filling + b"\r\n.\r\n", b"250")


def _open(connection: Connection) -> bool:
    try:
        return bool(socket.socket.recv(connection.socket, 1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
    except BlockingIOError:
        return True  # it has nothing to say
