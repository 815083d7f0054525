"""Maildirs: where an address may lead, and what lies there after every kind of end."""

import errno
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from mta.delivery import maildir
from mta.delivery.maildir import Draft, NoMailbox, Place, base_of, place, top, was_delivered
from mta.delivery.routes import Maildir
from mta.mail.address import domain_of
from mta.mail.envelope import Recipient

TEMPLATE = Maildir("/var/mail/{domain}/{local}", delimiter="+")
STEM = "1700000000.M123000Q0123456789ABCDEFR0."


def path_of(address: str, target: Maildir = TEMPLATE) -> str:
    return str(place(target, Recipient(0, address, domain_of(address))).path)


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("anna@Example.ORG", "/var/mail/example.org/anna"),
        ("Anna@example.org", "/var/mail/example.org/anna"),
        ("anna+lists@example.org", "/var/mail/example.org/anna"),
        ('"anna"@example.org', "/var/mail/example.org/anna"),
        (r'"an\na smith"@example.org', "/var/mail/example.org/anna smith"),
        ("a..b@example.org", "/var/mail/example.org/a..b"),
        ("-rf@example.org", "/var/mail/example.org/-rf"),
        ("%2e%2e@example.org", "/var/mail/example.org/%2e%2e"),
        ("$(id)`;@example.org", "/var/mail/example.org/$(id)`;"),
        ("JÖRG@example.org", "/var/mail/example.org/jörg"),
        ("jo\u0308rg@example.org", "/var/mail/example.org/jörg"),
        ("anna@bücher.example", "/var/mail/xn--bcher-kva.example/anna"),
        ("\uff0e\uff0e\uff0fx@example.org", "/var/mail/example.org/\uff0e\uff0e\uff0fx"),
    ],
)
def test_place(address: str, path: str) -> None:
    """An address names one Maildir: lower case, unquoted, composed, never decoded further."""
    assert path_of(address) == path


@pytest.mark.parametrize(
    "local",
    [
        "..",
        ".",
        ".ssh",
        "../../etc/cron.d/x",
        '"../../etc/cron.d/x"',
        r'"\.\./x"',
        r'".\./x"',
        "/etc/passwd",
        '"/etc/passwd"',
        "anna/../bert",
        "anna/new/x",
        '""',
        '"a\0b"',
        '"a\nb"',
        "a\x7fb",
        "a\u202eb",
        "a\u2028b",
        "+lists",
        "..+x",
        "x" * 256,
        "ö" * 128,
    ],
)
def test_traversal(local: str) -> None:
    """Attack: a local part that would lead out of its directory, or nowhere, is no mailbox."""
    with pytest.raises(NoMailbox):
        path_of(f"{local}@example.org")


@pytest.mark.parametrize("domain", ["..", ".example.org", "a/b", "../x", "a\0b", ""])
def test_traversal_by_domain(domain: str) -> None:
    """Attack: nor does a domain, whoever let it in."""
    with pytest.raises(NoMailbox):
        place(TEMPLATE, Recipient(0, "anna@x", domain))


def test_braces() -> None:
    """Attack: a local part that is a place of the template itself is not filled in again."""
    assert path_of("{domain}@example.org") == "/var/mail/example.org/{domain}"
    assert path_of("{local.__class__}@example.org") == "/var/mail/example.org/{local.__class__}"


@pytest.mark.parametrize(
    ("template", "base"),
    [
        ("/var/mail/{domain}/{local}", "/var/mail"),
        ("/home/{local}/Maildir", "/home"),
        ("/srv/box-{local}", "/srv"),
        ("/srv/all", "/srv"),
        ("/{local}", "/"),
    ],
)
def test_base(template: str, base: str) -> None:
    """The base is what does not depend on the address."""
    assert base_of(template) == Path(base)


def draft(tmp_path: Path, *, attempt: int = 1, create: bool = True, box: str = "anna") -> Draft:
    return Draft(Place(tmp_path / "l.test" / box, tmp_path, create), STEM, "mx:1/a", attempt)


def write(one: Draft, *chunks: bytes) -> bool:
    if not one.begin():
        return False
    one.write_top(top("a@here.test", "anna@l.test"))
    for chunk in chunks:
        one.write(chunk)
    one.keep()
    return True


def files(tmp_path: Path) -> list[str]:
    return sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())


def test_message(tmp_path: Path) -> None:
    """The file: LF, trace fields on top, its size in its name, owner only; so are directories."""
    one = draft(tmp_path)
    assert write(one, b"Subject: hi\r\n\r\na\r", b"\nb\r\n", b".c\r\n")
    content = b"Return-Path: <a@here.test>\nDelivered-To: anna@l.test\nSubject: hi\n\na\nb\n.c\n"
    name = rf"{STEM}mx\0721\057a,S={len(content)}"
    assert one.name == name
    file = tmp_path / "l.test/anna/new" / name
    assert files(tmp_path) == [str(file.relative_to(tmp_path))]
    assert file.read_bytes() == content
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    for directory in (
        "l.test",
        "l.test/anna",
        *(f"l.test/anna/{n}" for n in ("tmp", "new", "cur")),
    ):
        assert stat.S_IMODE((tmp_path / directory).stat().st_mode) == 0o700


@pytest.mark.parametrize("size", range(1, 9))
def test_line_ends_cut_anywhere(tmp_path: Path, size: int) -> None:
    """CRLF becomes LF wherever chunks end."""
    content = b"A: b\r\n\r\n\r\nx\r\n\r\ny\r\n"
    one = draft(tmp_path)
    write(one, *[content[at : at + size] for at in range(0, len(content), size)])
    (name,) = files(tmp_path)
    assert (tmp_path / name).read_bytes().endswith(b"test\nA: b\n\n\nx\n\ny\n")
    assert b"\r" not in (tmp_path / name).read_bytes()


def test_sync_before_and_after_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The octets are synced before the message has its name, and the name before it counts."""
    done: list[str] = []
    fsync, link = os.fsync, Path.hardlink_to

    def watch_fsync(number: int) -> None:
        done.append("sync " + Path(f"/proc/self/fd/{number}").readlink().parent.name)
        fsync(number)

    def watch_link(self: Path, target: Any) -> None:
        done.append("link")
        link(self, target)

    one = draft(tmp_path)
    assert one.begin()
    monkeypatch.setattr(maildir.os, "fsync", watch_fsync)
    monkeypatch.setattr(Path, "hardlink_to", watch_link)
    one.write(b"x\r\n")
    one.keep()
    assert done == ["sync tmp", "link", "sync anna"]


def test_crash_between_name_and_record(tmp_path: Path) -> None:
    """The next attempt finds what the one before has delivered, read or not, and adds nothing."""
    write(draft(tmp_path), b"x\r\n")
    again = draft(tmp_path, attempt=2)
    assert not write(again, b"x\r\n")
    assert again.name.startswith(STEM)
    (name,) = files(tmp_path)
    read = (tmp_path / name).parent.parent / "cur" / (Path(name).name + ":2,S")
    (tmp_path / name).rename(read)
    assert not write(draft(tmp_path, attempt=3), b"x\r\n")
    assert len(files(tmp_path)) == 1


def test_two_attempts_at_once(tmp_path: Path) -> None:
    """Two that both believe they are the first still make one message."""
    first, second = draft(tmp_path), draft(tmp_path, attempt=2)
    assert first.begin()
    assert second.begin()
    for one in (first, second):
        one.write(b"x\r\n")
        one.keep()
    assert len(files(tmp_path)) == 1


def test_abandoned(tmp_path: Path) -> None:
    """A draft that is given up leaves nothing, and cannot be kept afterwards."""
    one = draft(tmp_path)
    one.begin()
    one.write(b"x")
    one.abandon()
    one.abandon()
    assert files(tmp_path) == []
    with pytest.raises(InterruptedError):
        one.keep()
    assert files(tmp_path) == []


def test_draft_of_a_dead_process(tmp_path: Path) -> None:
    """What a crash has left in tmp is in nobody's way, even with the same process id."""
    draft(tmp_path).begin()
    assert write(draft(tmp_path), b"x\r\n")
    assert [Path(name).parent.name for name in files(tmp_path)] == ["new"]


def test_symbolic_link_in_tmp(tmp_path: Path) -> None:
    """Attack: a link where the draft is to be does not lead the message elsewhere."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    box = tmp_path / "l.test" / "anna"
    (box / "tmp").mkdir(parents=True)
    host = r"mx\0721\057a"
    (box / "tmp" / f"{STEM[:-1]}A1P{os.getpid()}.{host}").symlink_to(victim)
    assert write(draft(tmp_path), b"x\r\n")
    assert victim.read_bytes() == b"mine"


def test_without_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that has no hard links gets its message by a rename."""

    def refuse(self: Path, target: Any) -> None:
        raise PermissionError(errno.EPERM, "no links here")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    assert write(draft(tmp_path), b"x\r\n")
    assert [Path(name).parent.name for name in files(tmp_path)] == ["new"]


def test_unknown_user(tmp_path: Path) -> None:
    """Where nothing is made, a Maildir that is missing is an unknown user."""
    (tmp_path / "l.test").mkdir()
    with pytest.raises(NoMailbox):
        draft(tmp_path, create=False).begin()
    assert files(tmp_path) == []


@pytest.mark.parametrize("create", [True, False])
def test_base_away(tmp_path: Path, create: bool) -> None:
    """A tree that is gone is a disk that is not mounted, not a thousand unknown users."""
    base = tmp_path / "mail"
    one = Draft(Place(base / "l.test" / "anna", base, create), STEM, "mx", 1)
    with pytest.raises(FileNotFoundError):
        one.begin()
    if not create:
        base.mkdir()  # the mount point
        with pytest.raises(FileNotFoundError):
            one.begin()


def test_folders_that_are_missing(tmp_path: Path) -> None:
    """A Maildir that is only a directory yet is completed."""
    (tmp_path / "l.test" / "anna").mkdir(parents=True)
    assert write(draft(tmp_path, create=False), b"x\r\n")


@pytest.mark.parametrize(
    ("head", "before"),
    [
        (b"Delivered-To: anna@l.test\r\nSubject: x\r\n\r\n", True),
        (b"Subject: x\r\ndelivered-to:  ANNA@L.test \r\n\r\n", True),
        (b"Delivered-To:\r\n anna@l.test\r\n\r\n", True),
        (b"Delivered-To: bert@l.test\r\n\r\n", False),
        (b"Subject: x\r\n\r\nDelivered-To: anna@l.test\r\n", False),
        (b"X-Delivered-To: anna@l.test\r\n\r\n", False),
        (b"Delivered-To: \xff\r\n\r\n", False),
        (b"", False),
    ],
)
def test_was_delivered(head: bytes, before: bool) -> None:
    """The header tells where a message has been; the body does not."""
    assert was_delivered(head, "Anna@l.test") is before
