"""What is fuzzed of those we talk to: proxies, who logs in, filters, name servers."""

import ipaddress
from dataclasses import replace

from mta.auth.failures import AuthenticationFailed
from mta.auth.tokens import TokenRules, Tokens
from mta.dns.answers import Answer, Mx
from mta.dns.wire import MAX_TTL_S, ServerUnusable, is_reply, make_query, read_reply
from mta.milter.answers import AddField, ChangeField, Verdict, answer
from mta.milter.options import Misbehaved
from mta.milter.packets import BODY, Packets
from mta.smtp.commands import CommandError
from mta.smtp.mechanisms import MECHANISMS, Authentication
from mta.smtp.proxy_header import LONGEST, ProxyHeader, ProxyHeaderError, parse
from mta.smtp.replies import reply
from mta.smtp.sasl import Binding, Claim, KeysWanted, Proved, StoredKeys

_NO = reply(535, "5.7.8", "No")
_KEYS = StoredKeys("ann", b"salt", 4096, b"k" * 32, b"s" * 32)  # of no password
_TYPES = ("MX", "A", "TXT", "TLSA")


def proxy_headers(data: bytes) -> None:
    """A header is told from what is none as soon as it can be, and never later."""
    whole = _proxy(data)
    if isinstance(whole, ProxyHeader):
        assert whole.octets <= min(len(data), LONGEST)
        assert whole.client == "" or ipaddress.ip_address(whole.client)
        assert 0 <= whole.port <= 65535
        assert _proxy(data[: whole.octets]) == whole
    assert whole is not None or len(data) < LONGEST
    for end in (*range(min(len(data), 256)), *range(256, len(data), 97)):
        part = _proxy(data[:end])
        if whole is None or (isinstance(whole, ProxyHeader) and end < whole.octets):
            assert part is None
        elif part is not None:
            assert part == whole


def _proxy(data: bytes) -> ProxyHeader | str | None:
    try:
        return parse(data)
    except ProxyHeaderError as error:
        assert str(error).isprintable()
        return "refused"


def logging_in(data: bytes) -> None:
    """An exchange ends with a claim, a refusal or a question; no proof is made by chance."""
    first, *lines = data.decode("latin-1").split("\n")
    one = Authentication(tuple(MECHANISMS))
    one.secured(Binding("tls-exporter", lambda: b"b" * 32), certificate=True)
    try:
        turn = one.begin(first)
    except CommandError as error:
        assert error.reply.code == 504
        return
    for line in lines:
        if isinstance(turn.asked, KeysWanted):
            turn = one.supply(_KEYS)
            continue
        if turn.said is None or turn.said.code != 334:
            break
        turn = one.respond(line)
    assert not isinstance(turn.asked, Proved)
    if isinstance(turn.asked, Claim):
        assert turn.asked.login
        assert turn.asked.password
        assert repr(turn.asked) == repr(replace(turn.asked, password="other"))
    if turn.said is not None:
        assert turn.said.code in (334, 501)
        assert turn.said.to_bytes().isascii()
    elif not isinstance(turn.asked, KeysWanted):
        again = one.denied(_NO)
        assert again is None or (again.said is not None and again.said.code == 334)


class _Keys:
    """A set without a key in it, and nobody who is asked for one."""

    async def key(self, _name: str) -> None:
        return None


def tokens(data: bytes) -> None:
    """Whatever calls itself a token is refused, without a signature of one that we know."""
    rules = TokenRules("https://login.example/", "smtp.example")
    work = Tokens(rules, _Keys()).login(data.decode("utf-8", "replace"))  # type: ignore[arg-type]
    try:
        work.send(None)
    except AuthenticationFailed as error:
        assert error.reason.startswith("token ")
    else:
        raise AssertionError("believed")


def filters(data: bytes) -> None:
    """What a filter sends is the same in pieces, and cannot end a header or a reply."""
    said = []
    for size in (1, 7, 65536):
        packets, found = Packets(), []
        try:
            for at in range(0, len(data), size):
                packets.receive(data[at : at + size])
                while (one := packets.next()) is not None:
                    if found and found[-1][0] == one[0] == BODY:
                        found[-1] = (BODY, found[-1][1] + one[1])
                    else:
                        found.append(one)
        except Misbehaved as error:
            found.append((b"", str(error).encode()))
        said.append(found)
    assert said[0] == said[1] == said[2]
    for kind, payload in said[0]:
        _meaning(kind, payload)


def _meaning(kind: bytes, payload: bytes) -> None:
    try:
        found = answer(kind, payload)
    except Misbehaved as error:
        assert str(error).isprintable()
        return
    if isinstance(found, AddField | ChangeField):
        assert not set(found.name) & set(b"\r\n: ")
        _, *more = found.value.split(b"\r\n")
        assert not set(found.value.replace(b"\r\n", b"")) & set(b"\r\n\0")
        assert all(line[:1] in (b" ", b"\t") and line.strip() for line in more)
    if isinstance(found, Verdict) and found.reply is not None:
        assert 400 <= found.reply.code <= 599
        assert all(line.isprintable() and line.isascii() for line in found.reply.lines)
        assert found.reply.enhanced[0] == str(found.reply.code)[0]


def name_servers(data: bytes) -> None:
    """An answer of a name server is used or refused, and what is used is within its bounds."""
    if len(data) < 9:
        return
    query = make_query("name.example", _TYPES[data[0] & 3], 7, validating=bool(data[0] & 4))
    question = query.wire[12 : 12 + len("name.example") + 6]
    flags = bytes([data[1] | 0x80, data[2]])
    wire = b"\0\7" + flags + b"\0\1" + data[3:9] + question + data[9:]
    try:
        if not is_reply(query, wire):
            return
        found = read_reply(query, wire)
    except ServerUnusable as error:
        assert str(error)
        return
    assert 0 <= found.ttl <= MAX_TTL_S
    if isinstance(found, Answer):
        assert not found.authenticated or query.validating
        for one in found.records:
            assert isinstance(one, Mx) is (data[0] & 3 == 0)
            shown = one.exchange if isinstance(one, Mx) else one
            assert not set(shown) & set("\r\n\0")
