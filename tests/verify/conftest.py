"""A DNS in memory, and a thread that is none."""

import pytest
from twisted.internet.defer import Deferred, fail, succeed

from mta.dns.answers import Answer, DnsTemporary, Mx, NoSuchName


class Zone:
    """Answers from a mapping: name -> [(type, text)]; counts what it was asked."""

    def __init__(self, records=None):
        self.records = dict(records or {})
        self.failing = set()  # names that cannot be looked up
        self.silent = set()  # names that are never answered
        self.asked = []

    def add(self, name, kind, text):
        self.records.setdefault(name, []).append((kind, text))

    def txt(self, name, text):
        """Publish a TXT record, in strings of 255 octets."""
        parts = [text[at : at + 255] for at in range(0, len(text), 255)]
        self.add(name, "TXT", " ".join(f'"{part}"' for part in parts))

    def lookup(self, name, kind):
        self.asked.append((name, kind))
        name = name.lower()
        if name in self.silent:
            return Deferred()
        if name in self.failing:
            return fail(DnsTemporary(f"{name}: SERVFAIL"))
        if name not in self.records:
            below = any(one.endswith("." + name) for one in self.records)
            return succeed(Answer(name, (), 60)) if below else fail(NoSuchName(name))
        found = [_record(kind, text) for one, text in self.records[name] if one == kind]
        return succeed(Answer(name, tuple(found), 60))


def _record(kind, text):
    if kind != "MX":
        return text
    preference, exchange = text.split()
    return Mx(int(preference), exchange.removesuffix("."))


class AtOnce:
    """A thread pool that works at once."""

    def start(self):
        pass

    def stop(self):
        pass

    def callInThreadWithCallback(self, then, fn, *args):
        try:
            result = fn(*args)
        except Exception as error:
            then(False, error)
        else:
            then(True, result)


@pytest.fixture
def zone():
    """An empty zone."""
    return Zone()


@pytest.fixture
def zones():
    """What makes zones."""
    return Zone


@pytest.fixture
def at_once():
    """A thread pool that is none."""
    return AtOnce()


@pytest.fixture
def done():
    """Return the result of a coroutine that waits for nothing."""

    def do(coroutine):
        results = []
        Deferred.fromCoroutine(coroutine).addBoth(results.append)
        assert results, "it waits"
        if hasattr(results[0], "raiseException"):
            results[0].raiseException()
        return results[0]

    return do
