"""Signatures off the reactor's thread."""

import threading
import time

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from mta.dkim.rules import Keyring, Rules
from mta.dkim.sign import SigningSettings
from mta.dkim.signer import Signer, SigningStopped

MESSAGE = b"From: a@example.org\r\n\r\ntext\r\n"


class Threads(Clock):
    """A reactor that runs by hand what threads hand over."""

    def __init__(self):
        super().__init__()
        self.handed = []

    def callFromThread(self, callable, *args, **kwargs):
        self.handed.append((callable, args))

    def turn(self):
        handed, self.handed = self.handed, []
        for callable, args in handed:
            callable(*args)


class Pool:
    """A pool whose work is done by hand."""

    def __init__(self):
        self.work = []
        self.state = "new"

    def start(self):
        self.state = "started"

    def stop(self):
        self.state = "stopped"

    def callInThread(self, func, *args, **kw):
        self.work.append((func, args))

    def run(self):
        work, self.work = self.work, []
        for func, args in work:
            func(*args)


@pytest.fixture
def threads():
    return Threads()


@pytest.fixture
def pool():
    return Pool()


@pytest.fixture
def signer(threads, pool, ed25519_key):
    return Signer(threads, Rules(Keyring((ed25519_key,))), pool)


def begin(signer):
    signing, _ = signer.rules.begin(MESSAGE, 1.0, whole=True)
    return signing


def test_what_waits_goes_together(signer, threads, pool) -> None:
    """Messages that come while the thread works share the next trip, and one answer."""
    results = []
    for _ in range(40):
        signer.sign(begin(signer)).addCallback(results.append)
    trips = []
    while pool.work:
        trips.append([len(args[0]) for _, args in pool.work])
        pool.run()
        threads.turn()
    assert trips == [[1], [16], [16], [7]]
    assert len(results) == 40 and all(one.startswith(b"DKIM-Signature:") for one in results)


def test_a_failing_signature_fails_alone(signer, threads, pool) -> None:
    """One that cannot be made does not take its neighbours with it."""
    bad, good, failures = begin(signer), begin(signer), []
    bad.finish = lambda: 1 / 0
    signer.sign(begin(signer))
    signer.sign(bad).addErrback(lambda failure: failures.append(failure.type))
    done = signer.sign(good)
    for _ in range(2):
        pool.run()
        threads.turn()
    assert failures == [ZeroDivisionError]
    assert isinstance(done, Deferred) and done.result.startswith(b"DKIM-Signature:")


def test_a_client_that_has_gone(signer, threads, pool) -> None:
    """Whoever cancels is not answered, and nothing is logged as unhandled."""
    done = signer.sign(begin(signer))
    done.addErrback(lambda failure: None)
    done.cancel()
    pool.run()
    threads.turn()
    assert done.result is None


def test_stop(signer, pool) -> None:
    """After the stop, and for what still waits then, there is no signature but an answer."""
    failures = []
    signer.start()
    signer.sign(begin(signer))
    for _ in range(2):
        signer.sign(begin(signer)).addErrback(lambda failure: failures.append(failure.type))
    signer.stop()
    signer.sign(begin(signer)).addErrback(lambda failure: failures.append(failure.type))
    assert failures == [SigningStopped] * 3
    assert pool.state == "stopped"


def test_relayed_mail_only_if_configured(ed25519_key) -> None:
    """Mail of others that passes through is left alone unless the settings say otherwise."""
    keyring = Keyring((ed25519_key,))
    assert Rules(keyring).wants(submission=True)
    assert not Rules(keyring).wants(submission=False)
    assert Rules(keyring, SigningSettings(relayed=True)).wants(submission=False)
    assert not Rules(Keyring(())).wants(submission=True)


def test_the_reactor_does_not_wait(rsa_key) -> None:
    """While a thread signs without a pause, the median wait of another is far below a signature.

    Two hundred naps of a millisecond: OpenSSL gives Python's lock back while it works.
    """
    stop = threading.Event()
    count = 0

    def work():
        nonlocal count
        while not stop.is_set():
            rsa_key.sign(b"x" * 32)
            count += 1

    thread = threading.Thread(target=work)
    thread.start()
    waits = []
    for _ in range(200):
        begun = time.perf_counter()
        time.sleep(0.001)
        waits.append(time.perf_counter() - begun - 0.001)
    stop.set()
    thread.join()
    assert count > 20
    assert sorted(waits)[100] < 0.005
