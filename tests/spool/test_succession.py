"""Who comes after whom: names in use, and what the dead leave behind."""

import pytest

from mta.spool import leases, succession


def _register(table, mail, name, token, about, now_ms=0):
    table.write(leases.register_node, name, token, now_ms or mail.now, 60_000, about)


def _claims(table):
    return [claim for (claim,) in table.rows("SELECT claim FROM recipients")]


def _here(about):
    return about.get("host") == "here"


def test_bury(table, mail):
    """What a dead process had in hand is due at once, and it is no node any more."""
    _register(table, mail, "relay/1", mail.token, {"pid": "7", "host": "here"})
    table.accept(mail.intake(claim=mail.token))
    assert table.write(succession.bury, 7, mail.now, _here) == 1
    assert table.read(leases.everyone) == []
    assert _claims(table) == [None]
    assert table.write(succession.bury, 7, mail.now, _here) == 0


@pytest.mark.parametrize(
    ("pid", "died"),
    [
        (8, 0),  # another process, which has followed under the same name
        (7, -1),  # the number has been given to a process that began later
    ],
)
def test_bury_spares_whoever_came_after(table, mail, pid, died):
    """Attack: numbers of processes come again.  A run that began since keeps what it has."""
    _register(table, mail, "relay/1", "second-run", {"pid": "7", "host": "here"})
    table.accept(mail.intake(claim="second-run"))
    assert table.write(succession.bury, pid, mail.now + died, _here) == 0
    assert _claims(table) == ["second-run"]


def test_bury_spares_other_hosts(table, mail):
    """The same number where we cannot see it is another process."""
    _register(table, mail, "relay/1", "far", {"pid": "7", "host": "elsewhere"})
    table.accept(mail.intake(claim="far"))
    assert table.write(succession.bury, 7, mail.now, _here) == 0
    assert _claims(table) == ["far"]


def _beside(table, mail, token, runs, later_ms=0):
    return table.write(
        succession.register_beside, "relay", token, mail.now + later_ms, 60_000, {}, runs
    )


def test_a_name_in_use_is_left_alone(table, mail):
    """Two processes of one name would take each other's mail and deliver it twice."""
    _register(table, mail, "relay", "first", {"pid": "7"})
    table.accept(mail.intake(claim="first"))
    name, back, other = _beside(table, mail, "second", lambda node: True)
    assert (name, back, other.about) == ("relay~2", 0, {"pid": "7"})
    assert _beside(table, mail, "third", lambda node: True)[0] == "relay~3"
    assert _claims(table) == ["first"]
    assert [(node.name, node.token) for node in table.read(leases.everyone)] == [
        ("relay", "first"), ("relay~2", "second"), ("relay~3", "third"),
    ]  # fmt: skip


@pytest.mark.parametrize(("runs", "later_ms"), [(False, 0), (True, 60_001)])
def test_a_name_that_is_free_again_brings_its_mail_along(table, mail, runs, later_ms):
    """Of a run that is known to be dead, or whose lease is over, all is due at once."""
    _register(table, mail, "relay", "first", {"pid": "7"})
    table.accept(mail.intake(claim="first"))
    assert _beside(table, mail, "second", lambda node: runs, later_ms) == ("relay", 1, None)
    assert _claims(table) == [None]
