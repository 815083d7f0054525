"""The memory of recent successes: bounded in number and time, bound to the stored key."""

from twisted.internet.task import Clock

from mta.auth.successes import RecentSuccesses


def test_a_success_is_confirmed_for_a_moment_and_known_for_minutes():
    """After a second the row must be read again; after the life time it is gone."""
    clock = Clock()
    recent = RecentSuccesses(clock.seconds, ttl_s=300, confirmed_s=1)
    mark = recent.fingerprint(b"app7", b"pencil")
    recent.remember(mark, "app7", b"key")

    assert recent.confirmed(mark) == "app7"
    clock.advance(1)
    assert recent.confirmed(mark) is None
    assert recent.confirm(mark, b"key")
    assert recent.confirmed(mark) == "app7"
    clock.advance(299)
    assert not recent.confirm(mark, b"key")
    assert len(recent) == 0


def test_a_changed_password_ends_an_entry():
    """Attack: logging in with the old password while it is remembered."""
    recent = RecentSuccesses(Clock().seconds)
    mark = recent.fingerprint(b"app7", b"pencil")
    recent.remember(mark, "app7", b"old key")

    assert not recent.confirm(mark, b"new key")
    assert len(recent) == 0


def test_the_memory_is_bounded():
    """Attack: filling the memory; the oldest entries go."""
    recent = RecentSuccesses(Clock().seconds, size=3)
    marks = [recent.fingerprint(b"app%d" % n, b"pencil") for n in range(5)]
    for number, mark in enumerate(marks):
        recent.remember(mark, f"app{number}", b"key")

    assert [recent.confirmed(mark) for mark in marks] == [None, None, "app2", "app3", "app4"]


def test_fingerprints_depend_on_process_login_and_password():
    """No two credentials share a mark, nor do two processes; none contains the password."""
    recent = RecentSuccesses(Clock().seconds)
    marks = {
        recent.fingerprint(b"app7", b"pencil"),
        recent.fingerprint(b"app7p", b"encil"),
        recent.fingerprint(b"app7", b"pencil2"),
        recent.fingerprint(b"app7\0pencil", b""),
        RecentSuccesses(Clock().seconds).fingerprint(b"app7", b"pencil"),
    }

    assert len(marks) == 5
    assert not any(b"pencil" in mark for mark in marks)
