"""Mail whose site has to be looked up first: who waits for whom, and who does not."""

from collections import Counter

import pytest
from twisted.internet.defer import Deferred

from mta.mail.envelope import Origin
from mta.mail.events import Attempted
from mta.mail.site import Site, alone
from mta.queue.limits import Limits


class Names:
    """The DNS, by hand: a test says what is found, and when."""

    def __init__(self, **known):
        self.sites = {f"mx:{domain}": site for domain, site in known.items()}
        self.asked = {}

    def known(self, destination):
        return self.sites.get(destination)

    def alone(self, destination):
        return alone(destination, destination.removeprefix("mx:"))

    def find(self, destination):
        assert destination not in self.asked
        self.asked[destination] = Deferred()
        return self.asked[destination]

    def finds(self, domain, site):
        self.sites[f"mx:{domain}"] = site
        self.asked.pop(f"mx:{domain}").callback(site)


PROVIDER = Site("site:provider", "provider", ("mx.provider",))


@pytest.fixture
def names():
    return Names()


def test_mail_waits_for_its_site_and_then_goes(stage, names):
    """One look-up for all mail of a domain; the attempt begins when it is found."""
    scheduler = stage.scheduler(names=names)
    for _ in range(3):
        stage.accept(scheduler, "b@a.example")
    assert stage.take() == []
    assert list(names.asked) == ["mx:a.example"]
    names.finds("a.example", PROVIDER)
    stage.advance(0)
    begun = stage.take()
    assert [one.job.destination for one in begun] == ["mx:a.example"] * 3
    begun[0].delivers()
    (event,) = stage.seen(Attempted)
    assert event.site == "provider"
    assert [row.site for row in stage.history(event.envelope.id)] == ["provider"]


def test_what_is_known_goes_at_once(stage, names):
    """A domain whose site is known waits for nobody."""
    scheduler = stage.scheduler(names=names)
    names.sites["mx:a.example"] = PROVIDER
    stage.accept(scheduler, "b@a.example")
    stage.one().delivers()
    assert names.asked == {}


def test_all_domains_of_a_site_share_one_window_and_one_death(stage, names):
    """Fifty domains at one provider: five connections at first, and five faults are the site's."""
    for n in range(50):
        names.sites[f"mx:d{n}.example"] = PROVIDER
    scheduler = stage.scheduler(names=names)
    ids = [stage.accept(scheduler, f"b@d{n}.example") for n in range(50)]
    running = stage.take()
    assert len(running) == 5
    for attempt in running:
        attempt.site_fails()
    stage.advance(0)
    assert stage.take() == []
    assert Counter(stage.states(one)[0][1:] for one in ids) == {(1, 300.0): 5, (0, 60.0): 45}
    stage.advance(61)
    assert len(stage.take()) == 1


def test_a_silent_name_server_holds_up_nobody(stage, names):
    """A thousand domains whose DNS hangs, and one that answers behind them, is dialled at once.

    Not more than a hundred look-ups are begun each second.
    """
    scheduler = stage.scheduler(names=names, limits=Limits(total=20))
    for n in range(1000):
        stage.accept(scheduler, f"b@silent{n}.example")
    assert len(names.asked) == 100
    stage.accept(scheduler, "b@good.example", origin=Origin(login="ann"))
    stage.advance(1)
    assert "mx:good.example" in names.asked
    names.finds("good.example", PROVIDER)
    stage.advance(0)
    assert stage.one().to == ["b@good.example"]


def test_what_cannot_be_looked_up_in_time_is_attempted_as_it_is(stage, names):
    """After ten seconds the attempt has to find out what is wrong, under the domain's own key."""
    scheduler = stage.scheduler(names=names)
    message_id = stage.accept(scheduler, "b@silent.example")
    for _ in range(9):
        stage.advance(1)
    assert stage.take() == []
    stage.advance(1)
    stage.advance(0)
    stage.one().site_fails()
    assert stage.states(message_id) == [("queued", 1, 300)]
    names.finds("silent.example", PROVIDER)  # late news, of use for the next time


def test_a_fault_of_the_look_up_is_no_reason_not_to_try(stage, names):
    """An exception that nobody foresaw costs the mail its company, and nothing else."""
    scheduler = stage.scheduler(names=names)
    stage.accept(scheduler, "b@a.example")
    names.asked["mx:a.example"].errback(RuntimeError("a bug"))
    stage.advance(0)
    stage.one().delivers()


def test_unresolved_mail_does_not_fill_the_active_set(stage, names):
    """Mail whose DNS hangs has half of the room at most; the rest goes back uncounted."""
    scheduler = stage.scheduler(names=names, active_recipients=40)
    ids = [stage.accept(None, f"b@silent{n}.example") for n in range(60)]
    stage.advance(1)
    stage.advance(1)
    assert 18 <= scheduler.active <= 22
    back = [one for one in ids if stage.rows(one)[0].claim is None]
    assert {stage.rows(one)[0].attempts for one in back} == {0}
    names.sites["mx:good.example"] = PROVIDER
    stage.accept(scheduler, "b@good.example")
    assert stage.one().to == ["b@good.example"]


def test_what_waits_for_its_site_is_given_back_at_the_stop(stage, names):
    """The service stops: nothing is dialled any more, and mail is due at once for the next run."""
    scheduler = stage.scheduler(names=names)
    message_id = stage.accept(scheduler, "b@a.example")
    done = []
    scheduler.stop(10).addBoth(done.append)
    for _ in range(5):
        stage.advance(0.1)
    assert done == [None]
    assert stage.states(message_id) == [("queued", 0, 0)]
    names.finds("a.example", PROVIDER)
    assert stage.take() == []


def test_a_login_with_next_to_nothing_in_hand_finds_room(stage):
    """One login has filled what memory fresh mail may have: another's message is dialled now."""
    scheduler = stage.scheduler(active_recipients=200)
    bulk, ann = Origin(login="bulk"), Origin(login="ann")
    for n in range(400):
        stage.accept(scheduler, f"b@d{n % 300}.example", origin=bulk)
    stage.advance(1)
    stage.take()
    assert scheduler.active > 150
    assert scheduler.reserve(1, 10, "bulk") is None
    stage.accept(scheduler, "b@fresh.example", origin=ann)
    assert stage.one().job.envelope.origin is ann


def test_a_site_with_thousands_of_domains_is_read_in_part(stage, names):
    """Memory stays bounded, each row is read a few times at most, and others are not kept out."""

    class Provider(Names):
        def known(self, destination):
            return PROVIDER if destination != "mx:other.example" else alone("o", "other.example")

    scheduler = stage.scheduler(names=Provider(), active_recipients=400)
    for n in range(2500):
        stage.accept(None, f"b@d{n}.example")
    most = 0
    for _ in range(20):
        stage.advance(1)
        most = max(most, scheduler.active)
        stage.take()
    assert most <= 400
    assert scheduler.active <= 250  # a quarter is the site's share
    stage.accept(None, "b@other.example")
    for _ in range(15):
        stage.advance(1)
    assert [attempt.to for attempt in stage.take()] == [["b@other.example"]]
