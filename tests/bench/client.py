"""A load generator that is a process of its own: many SMTP clients over one epoll.

smtp-source speaks no TLS and tells no latencies; this does both, at about a third of
the processor time of smtplib.  It waits for each reply before the next command, as the
libraries of ordinary applications do.  It trusts any certificate: it is there to load a
server, not to verify one.

Standard input brings one JSON object (``Work``) and later the line that starts the run;
standard output gets ``ready`` and at the end one JSON object (``Result``).
"""

import base64
import json
import resource
import select
import socket
import ssl
import sys
import time
from collections.abc import Callable, Generator
from dataclasses import asdict, dataclass, field

READ, WRITE = select.EPOLLIN, select.EPOLLOUT
_STALLED_S = 60.0
_LINE = b"X" * 78 + b"\r\n"

Talk = Generator[int, None, None]


class Refused(Exception):
    """The server answered otherwise than a load test may take."""


@dataclass(frozen=True)
class Work:
    """What to do: ``messages`` in all, by ``clients`` at the same time."""

    host: str
    port: int
    clients: int
    messages: int
    size: int
    recipient: str
    per_connection: int = 1
    tls: bool = False
    login: str = ""
    password: str = ""


@dataclass
class Result:
    """What it was like; moments are seconds of CLOCK_MONOTONIC, latencies milliseconds."""

    begin: float = 0.0
    end: float = 0.0
    cpu_s: float = 0.0
    latencies_ms: list[float] = field(default_factory=list)
    error: str = ""


class Connection:
    """One non-blocking connection; every method is a generator of the events it waits for."""

    def __init__(self, work: Work, context: ssl.SSLContext | None) -> None:
        self._work = work
        self._context = context
        self.socket = socket.socket()
        self.socket.setblocking(False)

    def open(self) -> Talk:
        self.socket.connect_ex((self._work.host, self._work.port))
        yield WRITE
        error = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise OSError(error, "connect")
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._context:
            yield from self._handshake(self._context)

    def _handshake(self, context: ssl.SSLContext) -> Talk:
        secure = context.wrap_socket(
            self.socket, do_handshake_on_connect=False, server_hostname="localhost"
        )
        self.socket = secure
        while True:
            try:
                secure.do_handshake()
            except ssl.SSLWantReadError:
                yield READ
            except ssl.SSLWantWriteError:
                yield WRITE
            else:
                break
        # A server whose Nagle algorithm holds its greeting back until its session tickets are
        # acknowledged would have us measure delayed acknowledgements, 40 ms each.
        secure.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    def ask(self, command: bytes, expected: bytes) -> Talk:
        """Send, and wait for a reply that begins with ``expected``."""
        if command:
            yield from self._send(command)
        reply = b""
        while not _complete(reply):
            yield READ
            try:
                data = self.socket.recv(4096)
            except (BlockingIOError, ssl.SSLWantReadError):
                continue
            if not data:
                raise Refused(f"connection closed after {command[:40]!r}")
            reply += data
        if not reply.startswith(expected):
            raise Refused(f"{reply[:200]!r} to {command[:40]!r}")

    def _send(self, data: bytes) -> Talk:
        while data:
            try:
                data = data[self.socket.send(data) :]
            except (BlockingIOError, ssl.SSLWantWriteError):
                yield WRITE


def _complete(reply: bytes) -> bool:
    """Whether the last line is there and is a last one (``250 `` and not ``250-``)."""
    if not reply.endswith(b"\n"):
        return False
    last = reply[reply.rfind(b"\n", 0, -1) + 1 :]
    return last[3:4] != b"-"


def auth_plain(login: str, password: str) -> bytes:
    """Return the command that logs in; b"" without a login."""
    plain = f"\0{login}\0{password}".encode()
    return b"AUTH PLAIN " + base64.b64encode(plain) + b"\r\n" if login else b""


class Talking:
    """Many conversations at the same time, in one thread."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._waiting: dict[int, tuple[Talk, Connection, int]] = {}

    def _ended(self, connection: Connection) -> None:
        """A conversation is over; take the connection out of the epoll set, or begin another."""
        raise NotImplementedError

    def _go_on(self, how_far: Callable[[], str]) -> None:
        """Return when all have ended; ``Refused``, with ``how_far()``, when nothing moves."""
        while self._waiting:
            events = self._epoll.poll(_STALLED_S)
            if not events:
                raise Refused(f"no answer for {_STALLED_S:.0f} s, {how_far()}")
            for descriptor, _ in events:
                self._step(*self._waiting.pop(descriptor))

    def _step(self, talk: Talk, connection: Connection, interest: int) -> None:
        """Let one client go on until it has to wait or has finished."""
        wanted = next(talk, 0)
        descriptor = connection.socket.fileno()
        if not wanted:
            self._ended(connection)
            return
        if not interest:
            self._epoll.register(descriptor, wanted)
        elif wanted != interest:
            self._epoll.modify(descriptor, wanted)
        self._waiting[descriptor] = talk, connection, wanted


class Clients(Talking):
    """All clients of this process; they share the messages that are left to send."""

    def __init__(self, work: Work) -> None:
        super().__init__()
        self._work = work
        self._left = work.messages
        self._context = _context() if work.tls else None
        rest = max(work.size - 200, 80)
        self._filling = _LINE * (rest // len(_LINE)) + _LINE[-(rest % len(_LINE)) or -2 :]
        self._auth = auth_plain(work.login, work.password)
        self.latencies_ms: list[float] = []

    def run(self) -> None:
        """Return when every message is answered."""
        for _ in range(self._work.clients):
            self._begin()
        self._go_on(lambda: f"{self._left} not begun")

    def _begin(self) -> None:
        if self._left <= 0:
            return
        share = min(self._work.per_connection, self._left)
        self._left -= share
        connection = Connection(self._work, self._context)
        self._step(self._session(connection, share), connection, 0)

    def _ended(self, connection: Connection) -> None:
        connection.socket.close()  # which takes it out of the epoll set
        self._begin()

    def _session(self, connection: Connection, messages: int) -> Talk:
        begin = time.monotonic()
        yield from connection.open()
        yield from connection.ask(b"", b"220")
        yield from connection.ask(b"EHLO client.test\r\n", b"250")
        if self._auth:
            yield from connection.ask(self._auth, b"235")
        for _ in range(messages):
            yield from self._message(connection)
            end = time.monotonic()
            self.latencies_ms.append((end - begin) * 1000)
            begin = end
        yield from connection.ask(b"QUIT\r\n", b"221")

    def _message(self, connection: Connection) -> Talk:
        sent = time.monotonic_ns()
        yield from connection.ask(b"MAIL FROM:<sender@client.test>\r\n", b"250")
        yield from connection.ask(b"RCPT TO:<%b>\r\n" % self._work.recipient.encode(), b"250")
        yield from connection.ask(b"DATA\r\n", b"354")
        yield from connection.ask(self._headers(sent) + self._filling + b".\r\n", b"250")

    def _headers(self, sent: int) -> bytes:
        return (
            b"From: <sender@client.test>\r\nTo: <%b>\r\n"
            b"Date: Mon, 1 Jan 2024 00:00:00 +0000\r\nMessage-ID: <%d@client.test>\r\n"
            b"Subject: bench\r\nX-Sent: %d\r\n\r\n"
        ) % (self._work.recipient.encode(), sent, sent)


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def main() -> None:
    """Read the work, wait for the start, do it, write the result."""
    clients = Clients(Work(**json.loads(sys.stdin.readline())))
    print("ready", flush=True)
    sys.stdin.readline()
    before = resource.getrusage(resource.RUSAGE_SELF)
    result = Result(begin=time.monotonic())
    try:
        clients.run()
    except (Refused, OSError) as error:
        result.error = f"{type(error).__name__}: {error}"
    result.end = time.monotonic()
    after = resource.getrusage(resource.RUSAGE_SELF)
    result.cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    result.latencies_ms = clients.latencies_ms
    json.dump(asdict(result), sys.stdout)


if __name__ == "__main__":
    main()
