"""A question to DNS from the command line: the reactor runs until it is answered, then ends.

A process can do it once, which is what a command needs.
"""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.task import react
from twisted.python.failure import Failure

from mta.config import Settings
from mta.config.build import dns_servers
from mta.dns.resolver import Resolver

T = TypeVar("T")


def ask(settings: Settings, question: Callable[[Any], Awaitable[T]]) -> T:
    """Return what ``question(lookup)`` gives; raise what it raises."""
    return run(lambda reactor: question(resolver(reactor, settings).lookup))


def resolver(reactor: Any, settings: Settings, *, validating: bool = False) -> Resolver:
    """Return a resolver as the configuration wants it; nothing is kept in it yet."""
    return Resolver(
        reactor,
        dns_servers(settings),
        timeout_s=settings.dns.timeout.total_seconds(),
        attempts=settings.dns.attempts,
        validating=validating,
    )


def run(work: Callable[[Any], Awaitable[T]]) -> T:
    """Run the reactor until ``work(reactor)`` has ended; return or raise what it does."""
    answers: list[Any] = []

    async def main(reactor: Any) -> None:
        try:
            answers.append(await work(reactor))
        except Exception:
            answers.append(Failure())

    try:
        react(lambda reactor: Deferred.fromCoroutine(main(reactor)))
    except SystemExit:  # it ends with one, whatever came of it
        if not answers:
            raise KeyboardInterrupt from None
    if isinstance(answers[0], Failure):
        answers[0].raiseException()
    result: T = answers[0]
    return result
