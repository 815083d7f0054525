"""Servers that say anything at all: every recipient still gets an outcome, and a true one."""

import re
from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from mta.delivery.routes import Lmtp, Route
from mta.mail.envelope import Job
from mta.mail.outcome import Verdict

STAGES = ["greeting", "EHLO", "HELO", "LHLO", "RSET", "MAIL", "RCPT", "DATA", "end of data", "QUIT"]
FRAGMENTS = [
    b"250 2.0.0 Ok\r\n",
    b"250-PIPELINING\r\n",
    b"250-mx.test\r\n250-PIPELINING\r\n250 SIZE 39\r\n",
    b"354 Go on\r\n",
    b"334 \r\n",
    b"421 4.3.2 Bye\r\n",
    b"450 4.2.0 Later\r\n",
    b"452 4.5.3 Too many\r\n",
    b"552 5.2.2 Full\r\n",
    b"550 5.1.1 Nobody\r\n",
    b"220 hi\n",
    b"250",
    b"-",
    b"\r\n",
]
ANSWERS = st.one_of(
    st.sampled_from(["close", "stall"]),
    st.lists(st.sampled_from(FRAGMENTS), min_size=1, max_size=3).map(b"".join),
    st.binary(min_size=1, max_size=40),
)
SCRIPTS = st.dictionaries(
    st.sampled_from(STAGES), st.lists(ANSWERS, min_size=1, max_size=3), max_size=4
)


def in_step(script: dict[str, Any]) -> bool:
    """Tell whether no command is answered more than once.

    To a server that answers MAIL three times the RCPT and DATA sent with it are answered by the
    second and the third, and the true answer to RCPT can then arrive as that to the final dot.  No
    client can tell: the answers are in order, and there is nothing else to go by.
    """
    answers = [answer for answers in script.values() for answer in answers]
    return not any(
        len(re.findall(rb"(?m)^[2-5]\d\d(?![\d-])", answer)) > 1
        for answer in answers
        if isinstance(answer, bytes)
    )


@settings(max_examples=300, deadline=None)
@given(script=SCRIPTS, recipients=st.integers(1, 3), keywords=st.booleans(), lmtp=st.booleans())
def test_anything(
    new_world: Callable[[], Any],
    new_job: Callable[..., Job],
    script: dict[str, Any],
    recipients: int,
    keywords: bool,
    lmtp: bool,
) -> None:
    """Two deliveries to an erratic host end, in the clock's time, with nothing left behind."""
    world = new_world()
    host = world.host(keywords=("PIPELINING",) if keywords else ())
    host.strict = False
    if lmtp:
        host.lmtp = True
        world.use(Route("local", Lmtp("mx.test", 24)))
    true = in_step(script)
    host.script.update(script)  # which it uses up
    job = new_job(*[f"r{n}@there.test" for n in range(recipients)])
    for _ in range(2):
        for outcome in world.deliver(job, within_s=8000):
            if outcome.verdict is Verdict.DELIVERED:
                assert 200 <= outcome.code < 300
                assert outcome.command == "end of data"
                if true:
                    assert any("end of data" in wire.commands for wire in host.connections)
            if outcome.verdict is Verdict.FAILED:
                assert outcome.code >= 500 or outcome.enhanced == "5.3.4"
    assert world.events == [], "nothing unforeseen"
    world.delivery.stop()
    world.reactor.settle()
    world.reactor.advance(10)
    world.reactor.settle()
    assert all(wire.closed for wire in host.connections)
    assert world.reactor.getDelayedCalls() == []
