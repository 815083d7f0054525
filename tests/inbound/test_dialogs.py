"""The conversations in ``tests/dialogs``, each run whole, octet by octet and in one packet."""

import re
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from mta.auth.credentials import AuthenticationUnavailable
from mta.spool.errors import SpoolFull, SpoolUnavailable

DIALOGS = sorted((Path(__file__).parent.parent / "dialogs").glob("*.smtp"))
ESCAPE = re.compile(rb"\\(r|n|t|0|\\|c|x[0-9a-f]{2})")
OCTETS = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"0": b"\0", b"\\": b"\\", b"c": b""}


@dataclass
class Turn:
    """What the client sends, and what it is answered."""

    sent: bytes = b""
    expected: list = field(default_factory=list)  # (symbol, text)


@dataclass
class Dialog:
    """A file."""

    scene: dict
    turns: list

    @property
    def lockstep(self):
        return "lockstep" in self.scene


def parse(text):
    """Read a dialog."""
    scene, turns = {}, [Turn()]
    for line in text.splitlines():
        symbol, _, rest = line.partition(" ")
        if symbol == ":":
            key, _, value = rest.partition(" ")
            scene[key] = value
        elif symbol == "->":
            if turns[-1].expected or len(turns) == 1:
                turns.append(Turn())
            turns[-1].sent += octets(rest.encode())
        elif symbol in ("<-", "<~", "<+"):
            turns[-1].expected.append((symbol, rest))
        else:
            assert symbol == "#", line
    return Dialog(scene, turns)


def octets(line):
    """Resolve escapes and add CRLF."""

    def octet(found):
        name = found[1]
        return OCTETS[name] if name in OCTETS else bytes.fromhex(name[1:].decode())

    sent = ESCAPE.sub(octet, line)
    return sent if line.endswith(b"\\c") else sent + b"\r\n"


def set_scene(world, scene):
    """Make the world as the dialog wants it, and connect."""
    limits = {key: int(value) for key, value in scene.items() if value.isdigit() and key != "room"}
    world.limit(**limits)
    if "domains" in scene:
        world.ours()
    world.room = int(scene.get("room", 1 << 40))
    faults = {"away": SpoolUnavailable("gone"), "full": SpoolFull("full")}
    world.spool.error = faults.get(scene.get("database"))
    if scene.get("accounts") == "away":
        world.accounts.error = AuthenticationUnavailable("gone")
    return world.connect(scene.get("listener", "plain"), scene.get("from", "192.0.2.7"))


def say(client, sent):
    """Send in one packet; a STARTTLS that is accepted is followed by its handshake."""
    before = len(client.wire.tls)
    said = client.say(sent)
    if len(client.wire.tls) > before:
        client.session.handshakeCompleted()
        said += client.read()
    return said


def whole(client, dialog):
    """As the client would: it waits for answers where the file has them."""
    said = [client.read()]
    said += [say(client, turn.sent) for turn in dialog.turns[1:]]
    return said


def octet_by_octet(client, dialog):
    """Each octet in a packet of its own."""
    said = [client.read()]
    for turn in dialog.turns[1:]:
        pieces = (say(client, turn.sent[i : i + 1]) for i in range(len(turn.sent)))
        said.append(b"".join(pieces))
    return said


def one_packet(client, dialog):
    """Everything that the client has to say comes at once."""
    sent = b"".join(turn.sent for turn in dialog.turns)
    return [client.read() + say(client, sent)]


def check(client, dialog, said):
    """Compare what was said with what is expected."""
    lines = b"".join(said).decode().split("\r\n")
    assert lines.pop() == ""
    expected = [one for turn in dialog.turns for one in turn.expected]
    closed = ("<-", "[closed]") in expected
    assert client.closed is closed
    if closed:
        expected.remove(("<-", "[closed]"))
    rest = list(lines)
    for number, (symbol, text) in enumerate(expected):
        assert rest, (symbol, text)
        assert matches(symbol, text, rest[0]), (text, rest[0])
        rest.pop(0)
        after = expected[number + 1] if number + 1 < len(expected) else ("<-", "")
        while symbol == "<+" and rest and not matches(*after, rest[0]):
            assert re.fullmatch(text, rest[0]), (text, rest[0])
            rest.pop(0)
    assert rest == []


def matches(symbol, text, line):
    """Whether a line is what is expected."""
    return line == text if symbol == "<-" else re.fullmatch(text, line) is not None


@pytest.mark.parametrize("way", [whole, octet_by_octet, one_packet], ids=lambda way: way.__name__)
@pytest.mark.parametrize("path", DIALOGS, ids=lambda path: path.stem)
def test_dialog(world, path, way):
    """The session says what the dialog file says it does."""
    dialog = parse(path.read_text())
    if way is one_packet and dialog.lockstep:
        pytest.skip("this client must wait for answers")
    if way is octet_by_octet and path.stem == "starttls-injection":
        pytest.skip("octet by octet STARTTLS is answered before the attack arrives")
    client = set_scene(world, dialog.scene)
    check(client, dialog, way(client, dialog))


@pytest.mark.parametrize("path", [p for p in DIALOGS if p.stem.startswith("smuggling")], ids=str)
def test_smuggled_message_is_not_stored(world, path):
    """SMTP smuggling leaves nothing in the spool, neither the outer nor the inner message."""
    dialog = parse(path.read_text())
    whole(set_scene(world, dialog.scene), dialog)
    assert world.spool.accepted == []
    assert world.spool.chunks == {}


CODED = re.compile(r"([245])[0-9]{2}[ -]\1\.[0-9]{1,3}\.[0-9]{1,3} ")
BARE = re.compile(r"(?:220 relay\.example\.net ESMTP|(?:334|354) .*)")


@pytest.mark.parametrize("path", DIALOGS, ids=lambda path: path.stem)
def test_enhanced_status_codes(world, path):
    """RFC 2034 §4: on every line but the greeting and EHLO's; the class is the first digit's.

    No line is longer than 512 octets (RFC 5321 §4.5.3.1.5).
    """
    dialog = parse(path.read_text())
    said = b"".join(whole(set_scene(world, dialog.scene), dialog)).decode()
    hello = False
    for line in said.split("\r\n")[:-1]:
        assert len(line) <= 510
        hello = hello or re.fullmatch(r"250[ -]relay\.example\.net", line) is not None
        if hello:
            hello = line[3] == "-"
        elif not BARE.fullmatch(line):
            assert CODED.match(line), line
