"""What DNS says of a recipient's domain: what is kept, and what is asked again."""

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock

from mta.dns.mx import NoSuchDomain, NoUsableHost, NullMx
from mta.gate.domains import Domains
from mta.policy.recipients import Domain


class _Exchangers:
    """Answers as it is told, and counts the questions."""

    def __init__(self, answer: Callable[[], Deferred[Any]]) -> None:
        self.answer = answer
        self.asked = 0

    def hosts(self, domain: str) -> Deferred[Any]:
        self.asked += 1
        return self.answer()


def domains(answer: Callable[[], Deferred[Any]]) -> tuple[Domains, _Exchangers]:
    exchangers: Any = _Exchangers(answer)
    return Domains(Clock(), exchangers), exchangers


@pytest.mark.parametrize(
    ("error", "said"), [(NullMx, Domain.NULL_MX), (NoSuchDomain, Domain.MISSING)]
)
def test_a_refusal_is_kept_by_the_resolver_alone(error: type[Exception], said: Domain) -> None:
    """A domain that takes mail again is believed as soon as DNS says so."""
    asking, exchangers = domains(lambda: fail(error("there.example")))
    assert asking.ask("there.example") is said
    exchangers.answer = lambda: succeed(["mx.there.example"])
    assert asking.ask("there.example") is Domain.TAKES_MAIL
    assert exchangers.asked == 2


def test_that_it_takes_mail_is_kept() -> None:
    """A thousand recipients there are one question."""
    asking, exchangers = domains(lambda: succeed(["mx.there.example"]))
    assert [asking.ask("there.example") for _ in range(3)] == [Domain.TAKES_MAIL] * 3
    assert exchangers.asked == 1


def test_a_domain_without_a_usable_host_exists() -> None:
    """Its mail exchangers may be back in an hour: that is for the retries, not for a 550."""
    asking, _ = domains(lambda: fail(NoUsableHost("there.example")))
    assert asking.ask("there.example") is Domain.UNKNOWN
