"""What is wrong here is not held against the site."""

import errno

from twisted.internet.error import getConnectError

from mta.delivery.opening import _OURS, _number


def test_our_own_want_of_descriptors_is_told_from_a_refusal() -> None:
    """Attack: clients that use up our descriptors must not make healthy sites look dead."""
    full = OSError(errno.EMFILE, "Too many open files")
    assert _number(getConnectError(full)) in _OURS
    assert _number(full) in _OURS
    assert _number(getConnectError(OSError(errno.ECONNREFUSED, "no"))) not in _OURS
