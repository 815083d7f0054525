"""What commands say of restraints is what the queue does: one set of cases, asked both."""

import pytest

from mta.mail.envelope import Envelope, MemoryBody, Origin, Recipient
from mta.mail.restraint import Marks, Restraint
from mta.mail.site import Site
from mta.queue.entry import entries
from mta.spool import restraints
from mta.spool.engine import writing

KEY = "site:mx.example.com"
CASES = [
    ("all", "", {}),
    ("login", "app7", {}),
    ("login", "app8", {}),
    ("route", "bulk", {}),
    ("route", "other", {}),
    ("domain", "example.com", {}),
    ("domain", "mx.example.com", {}),
    ("site", "mx.example.com", {}),
    ("site", "example.com", {}),
    ("site", KEY, {}),
    ("site", "mx.example.com", {"site_key": KEY}),
    ("site", "mx.example.com", {"site_key": "site:another"}),
    ("site", "mx.example.com", {"site_key": KEY, "source": "192.0.2.20"}),
    ("site", "mx.example.com", {"site_key": KEY, "source": "192.0.2.21"}),
]


@pytest.mark.parametrize(("scope", "name", "more"), CASES)
def test_one_answer(stage, scope, name, more):
    """``Restraint.concerns`` says of a piece of mail what ``Restraints.blocked`` does with it."""
    scheduler = stage.scheduler()
    theirs = scheduler.restraints
    theirs.route_of = lambda sender, domain, chosen: "bulk"
    theirs.use_sources(lambda sender, domain, chosen, id: ("192.0.2.20",), shaped=False)
    wanted = Restraint(0, "suspend", scope, name, "why", stage.now_ms(), None, **more)
    with writing(stage.database.engine) as conn:
        restraints.suspend(conn, wanted)
    stage.advance(1)
    envelope = Envelope("1M87Z6Z57AF2TMW2", "a@example.org", 9, 0, 9**15,
                        origin=Origin(login="app7"))  # fmt: skip
    to = (Recipient(0, "b@example.com", "example.com", 1),)
    (entry,) = entries(envelope, to, MemoryBody((b"",)), "token", lambda *_: "mx:example.com")
    entry.site = Site(KEY, "mx.example.com")
    mail = Marks("app7", "bulk", "example.com", KEY, "mx.example.com", ("192.0.2.20",))
    assert wanted.concerns(mail) is (theirs.blocked(entry) is not None)
