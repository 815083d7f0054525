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
    return ask_all(settings, lambda _, resolver: question(resolver.lookup))


def ask_all(settings: Settings, question: Callable[[Any, Resolver], Awaitable[T]]) -> T:
    """Return what ``question(reactor, resolver)`` gives; raise what it raises."""
    answers: list[Any] = []

    async def main(reactor: Any) -> None:
        resolver = Resolver(
            reactor,
            dns_servers(settings),
            timeout_s=settings.dns.timeout.total_seconds(),
            attempts=settings.dns.attempts,
        )
        try:
            answers.append(await question(reactor, resolver))
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
