"""What clients see of the policy, and what the log gets of it."""

import ipaddress

import pytest
from twisted.internet.defer import Deferred, fail, succeed

from mta.dns.mx import NoSuchDomain, NullMx
from mta.mail.events import AuthenticationFailed, Refused, Ruled
from mta.policy.decision import Action
from mta.policy.holds import HoldRule, Holds
from mta.policy.limits import HOUR_MS, Bound, LimitRule, Limits, Measure, Per
from mta.policy.matching import AddressPattern, Who
from mta.policy.recipients import Recipients
from mta.policy.rules import Policy
from mta.policy.senders import SenderRule, Senders
from mta.spool.suppressions import Suppression

AUTH = b"AUTH PLAIN AGFubgBzZWNyZXQ=\r\n"  # ann, secret
WRONG = b"AUTH PLAIN AGFubgBndWVzcw==\r\n"  # ann, guess
MAIL = b"MAIL FROM:<ann@example.org>\r\n"
TO = b"RCPT TO:<b@example.com>\r\n"
TEXT = b"From: ann@example.org\r\n\r\ntext\r\n.\r\n"


def owned(**options):
    """People may use their own address at example.org."""
    rule = SenderRule("people", Who(), ("{user}@example.org",), **options)
    return Policy(senders=Senders((rule,)))


def limited(measure, amount, per=Per.CLIENT, action=Action.DEFER, window=HOUR_MS):
    """One limit."""
    rule = LimitRule("one", per, Who(), (Bound(measure, window, amount),), action)
    return Policy(limits=Limits((rule,)))


def ann(world, address="198.51.100.9"):
    """A client that has logged in as ann."""
    client = world.connect("smtps", address)
    client.say(b"EHLO me\r\n")
    assert client.say(AUTH).startswith(b"235 ")
    return client


def send(client, text=TEXT, mail=MAIL):
    """Send a message; return all the answers."""
    return client.say(mail) + client.say(TO) + client.say(b"DATA\r\n") + client.say(text)


def codes(answers):
    """The codes of the answers."""
    return [int(line[:3]) for line in answers.splitlines() if line[3:4] == b" "]


def test_spoofed_envelope_sender(world):
    """A login cannot send as somebody else; the client learns no rule, the log does."""
    world.rule(owned())
    client = ann(world)
    answer = client.say(b"MAIL FROM:<ceo@example.org>\r\n")
    assert answer == b"550 5.7.1 Sender address is not permitted\r\n"
    (refused,) = world.of(Refused)
    assert refused.command == "MAIL"
    assert "sender rule people" in refused.reason
    assert refused.origin.login == "ann"
    assert codes(send(client)) == [250, 250, 354, 250]


@pytest.mark.parametrize(
    "header",
    [
        b"From: ceo@example.org\r\n",
        b"From: ann@example.org, ceo@example.org\r\n",
        b"From: ann@example.org\r\nFrom: ceo@example.org\r\n",
        b"From: ann@example.org\r\nfrom : ceo@example.org\r\n",
        b'From: "ceo@example.org" <ann@example.org>\r\n',
        b"From: ceo@example.org <ann@example.org>\r\n",
        b"From: =?utf-8?q?ceo=40example.org?= <ann@example.org>\r\n",
        b"From: staff: ceo@example.org;\r\n",
        b"From: <@example.org:ceo@example.org>\r\n",
        b"X: y\r\nFrom\r\n : ceo@example.org\r\nFrom: ann@example.org\r\n",
        b"X: " + b"x" * 900 + b"\r\n y\r\nFrom:\r\n\t<ceo@example.org>\r\n",
    ],
)
def test_spoofed_from(world, header):
    """What readers see is checked too, however it is written; nothing is accepted."""
    world.rule(owned())
    answer = send(ann(world), header + b"\r\ntext\r\n.\r\n")
    assert codes(answer) == [250, 250, 354, 550]
    assert b"From address is not permitted" in answer
    assert world.spool.accepted == []
    assert "sender rule people" in world.of(Refused)[0].reason


def test_nobody_as_the_author(world):
    """Attack: the null sender, no From, and a Sender or Resent-From that readers show instead."""
    world.rule(owned())
    for field in (b"Sender: ceo@example.org\r\n", b"Resent-From: ceo@example.org\r\n", b""):
        answer = send(ann(world), b"Subject: x\r\n" + field + b"\r\nx\r\n.\r\n",
                      b"MAIL FROM:<>\r\n")  # fmt: skip
        assert codes(answer) == [250, 250, 354, 550]
        assert b"From address is not permitted" in answer
    assert world.spool.accepted == []
    receipt = b"From: ann@example.org\r\n\r\nread\r\n.\r\n"
    assert codes(send(ann(world), receipt, b"MAIL FROM:<>\r\n")) == [250, 250, 354, 250]


def test_from_hidden_behind_a_lone_cr(world):
    """Attack: BINARYMIME lets a lone CR in, behind which other readers see another From."""
    world.rule(owned())
    client = ann(world)
    client.say(b"MAIL FROM:<ann@example.org> BODY=BINARYMIME\r\n" + TO)
    text = b"X: y\rFrom: ceo@example.org\r\nFrom: ann@example.org\r\n\r\ntext\r\n"
    answer = client.say(b"BDAT %d LAST\r\n%s" % (len(text), text))
    assert answer.startswith(b"554 5.6.0 ")
    assert world.spool.accepted == []


def test_from_hidden_behind_a_long_header(world):
    """A From that lies beyond what is looked at is not let through unseen."""
    world.rule(owned())
    client = ann(world)
    client.say(MAIL + TO + b"DATA\r\n")
    for _ in range(5):
        client.say((b"X: " + b"x" * 900 + b"\r\n") * 70)
    answer = client.say(b"From: ceo@example.org\r\n\r\ntext\r\n.\r\n")
    assert answer.startswith(b"55")
    assert world.spool.accepted == []


def test_from_hidden_while_memory_is_short(world):
    """Nor is one in a later piece, when messages go to the spool in small pieces."""
    world.rule(owned())
    world.limit(memory=1)
    client = ann(world)
    client.say(MAIL + TO + b"DATA\r\n")
    client.say((b"X: " + b"x" * 900 + b"\r\n") * 30)
    client.say((b"X: " + b"x" * 900 + b"\r\n") * 60)
    answer = client.say(b"From: ceo@example.org\r\n\r\ntext\r\n.\r\n")
    assert answer.startswith(b"550 5.7.1 From address is not permitted")
    assert world.spool.accepted == []


def test_rewritten(world):
    """Both addresses are put right where the rule says so, and the history says what was."""
    world.rule(owned(rewrite="{user}@example.org"))
    text = b"Subject: x\r\nFrom: ceo@evil.test\r\n\r\ntext\r\n.\r\n"
    answer = send(ann(world), text, b"MAIL FROM:<x@evil.test>\r\n")
    assert codes(answer) == [250, 250, 354, 250]
    (item,) = world.spool.accepted
    assert item.envelope.sender == "ann@example.org"
    body = b"".join(item.chunks)
    assert body.endswith(
        b"Subject: x\r\nFrom: <ann@example.org>\r\nX-Original-From: ceo@evil.test\r\n\r\ntext\r\n"
    )
    assert item.envelope.size == len(body)
    assert [one.verb for one in item.remarks] == ["rewrite", "rewrite"]
    assert "<x@evil.test>" in item.remarks[0].text
    assert [one.verb for one in world.of(Ruled)] == ["rewrite", "rewrite"]
    assert len(world.queue.handed) == 1


def test_login_limit(world):
    """The third message in an hour is deferred, from wherever; an hour or two later it is not."""
    world.rule(limited(Measure.MESSAGES, 2, Per.LOGIN))
    client = ann(world)
    assert codes(send(client) + send(client))[3::4] == [250, 250]
    assert client.say(MAIL) == b"451 4.7.1 Too much mail; try again later\r\n"
    other = ann(world, "203.0.113.1")
    assert codes(other.say(MAIL)) == [451]
    assert "limit one: 2 messages an hour" in world.of(Refused)[0].reason
    world.clock.advance(7200)
    assert codes(send(ann(world))) == [250, 250, 354, 250]


def test_messages_that_arrive_together(world):
    """What passed MAIL at the same moment is counted again at the end: one goes, one waits."""
    world.rule(limited(Measure.MESSAGES, 1, Per.LOGIN))
    one, two = ann(world), ann(world)
    for client in (one, two):
        assert codes(client.say(MAIL + TO + b"DATA\r\n")) == [250, 250, 354]
    assert codes(one.say(TEXT)) == [250]
    assert codes(two.say(TEXT)) == [451]


def test_recipients_and_octets(world):
    """Recipients are counted while they come, octets when the message is there."""
    world.rule(limited(Measure.RECIPIENTS, 1))
    client = world.connect()
    assert codes(client.say(b"EHLO me\r\n" + MAIL + TO + TO))[-2:] == [250, 451]
    world.rule(limited(Measure.OCTETS, 100, action=Action.REFUSE))
    assert codes(send(world.connect(), mail=b"EHLO me\r\n" + MAIL))[-1] == 550


def test_not_accepted_does_not_count(world):
    """A message that the spool could not take uses nothing up."""
    world.rule(limited(Measure.MESSAGES, 1))
    client = world.connect()
    client.say(b"EHLO me\r\n")
    world.spool.error = RuntimeError("away")
    assert codes(send(client))[-1] == 451
    world.spool.error = None
    assert codes(send(client))[-1] == 250


def test_limit_that_holds(world):
    """Beyond a limit that holds mail is accepted and goes nowhere; the queue is not told."""
    world.rule(limited(Measure.MESSAGES, 1, action=Action.HOLD))
    client = world.connect()
    client.say(b"EHLO me\r\n")
    assert codes(send(client) + send(client))[3::4] == [250, 250]
    first, second = world.spool.accepted
    assert (first.held, first.claim) == ("", "token")
    assert second.held.startswith("limit one: 1 messages an hour")
    assert second.claim is None
    assert len(world.queue.handed) == 1
    (told,) = world.of(Ruled)
    assert told == Ruled(second.envelope.id, "hold", second.held)


def test_concurrent_sessions(world):
    """The second session at the same time is turned away, and may come when the first is gone."""
    world.rule(limited(Measure.SESSIONS, 1, window=0))
    one = world.connect()
    two = world.connect()
    assert two.read().startswith(b"421 4.7.0 ")
    assert "limit one" in world.of(Refused)[0].reason
    two.leave()
    one.leave()
    assert world.connect().read().startswith(b"220 ")


def test_a_reset_is_no_end_of_a_session(world):
    """Attack: a chunk and RSET again and again do not make room for more sessions."""
    world.rule(limited(Measure.SESSIONS, 1, window=0))
    one = world.connect()
    one.say(b"EHLO me\r\n" + MAIL + TO + b"BDAT 1\r\nxRSET\r\n")
    assert world.connect().read().startswith(b"421 4.7.0 ")
    one.leave()
    assert world.connect().read().startswith(b"220 ")


def test_sessions_of_a_login(world):
    """A login has its sessions counted when it is known; the client is told not now."""
    world.rule(limited(Measure.SESSIONS, 1, Per.LOGIN, window=0))
    ann(world)
    client = world.connect("smtps", "203.0.113.1")
    client.say(b"EHLO me\r\n")
    assert client.say(AUTH).startswith(b"454 4.7.0 ")
    assert client.say(AUTH).startswith(b"454 4.7.0 ")  # asking again does not help
    assert codes(client.say(MAIL)) == [530]


def test_connections_and_errors(world):
    """Connections an hour, and what becomes of a client that is refused again and again."""
    world.rule(limited(Measure.CONNECTIONS, 2, action=Action.REFUSE))
    greetings = [world.connect().read()[:4] for _ in range(3)]
    assert greetings == [b"220 ", b"220 ", b"554 "]
    world.rule(limited(Measure.ERRORS, 3))
    client = world.connect()
    client.say(b"NONSENSE\r\n" * 3)
    assert world.connect().read().startswith(b"421 ")
    assert world.connect(address="192.0.2.8").read().startswith(b"220 ")


def test_hold_rule(world):
    """One recipient at the domain, and the message is held."""
    rule = HoldRule("partner", Who(), recipient_domains=("example.com",))
    world.rule(Policy(holds=Holds((rule,))))
    client = world.connect()
    client.say(b"EHLO me\r\n")
    assert codes(send(client))[-1] == 250
    assert world.spool.accepted[0].held == "hold rule partner"
    assert world.queue.handed == []
    assert world.queue.reserved == 0


def test_login_lock_out_by_a_stranger(world):
    """However often a stranger fails as ann, ann logs in from elsewhere at once at home."""
    world.rule(Policy())
    ann(world).leave()  # at home there
    for _ in range(40):
        stranger = world.connect("smtps", "203.0.113.66")
        stranger.say(b"EHLO me\r\n")
        stranger.say(WRONG)
        world.clock.advance(8)
    stranger = world.connect("smtps", "203.0.113.66")
    stranger.say(b"EHLO me\r\n")
    stranger.say(AUTH)  # even the right password, now
    world.clock.advance(8)
    assert stranger.read().startswith(b"454 4.7.0 ")
    failed = world.of(AuthenticationFailed)
    assert failed[0].reason == "credentials"
    assert failed[-1].reason == "blocked"
    assert world.of(Refused)[-1].reason == "blocked: login from this network"
    assert failed[-1].login == "ann"
    assert len(world.accounts.asked) < 20  # blocked ones cost nothing
    ann(world)
    traveller = world.connect("smtps", "192.0.2.200")
    traveller.say(b"EHLO me\r\n")
    traveller.say(AUTH)
    world.clock.advance(8)
    assert traveller.read().startswith(b"235 ")


def test_a_block_ends(world):
    """The guesser, too, may try again after a while."""
    world.rule(Policy())
    client = world.connect("smtps", "203.0.113.66")
    client.say(b"EHLO me\r\n")
    for _ in range(12):
        client.say(WRONG)
        world.clock.advance(8)
    world.clock.advance(3600)
    ann(world, "203.0.113.66")


def test_failures_are_answered_later_and_later(world):
    """After three failures the answer takes a second, then two; the client may hang up."""
    world.rule(Policy())
    client = world.connect("smtps", "203.0.113.66")
    client.say(b"EHLO me\r\n")
    for _ in range(3):
        assert client.say(WRONG).startswith(b"535 ")
    assert client.say(WRONG) == b""
    world.clock.advance(0.9)
    assert client.read() == b""
    world.clock.advance(0.2)
    assert client.read().startswith(b"535 ")
    client.say(WRONG)
    client.leave()
    world.clock.advance(8)
    assert world.inbound.sessions == 0


class Answers:
    """DNS with one answer."""

    def __init__(self, answer):
        self.answer = answer

    def hosts(self, domain):
        return self.answer() if callable(self.answer) else fail(self.answer)


@pytest.mark.parametrize(
    ("answer", "reply"),
    [
        (NullMx("x"), b"556 5.1.10 "),
        (NoSuchDomain("x"), b"550 5.1.2 "),
        (RuntimeError("x"), b"250 "),
        (lambda: succeed(()), b"250 "),
    ],
)
def test_recipient_domains(world, answer, reply):
    """A null MX is refused at once, as is what does not exist; a failure of DNS is no reason."""
    world.rule(Policy(recipients=Recipients(null_mx=True, missing=True)), None, Answers(answer))
    client = world.connect()
    client.say(b"EHLO me\r\n" + MAIL)
    assert client.say(TO).startswith(reply)
    assert codes(client.say(b"RSET\r\n")) == [250]


@pytest.mark.parametrize(
    ("sender", "answer", "reply"),
    [
        (b"a@null.example", NullMx("x"), b"550 5.7.27 "),
        (b"a@null.example", lambda: succeed(()), b"250 "),
        (b"a@null.example", RuntimeError("x"), b"250 "),
        (b"a@null.example", NoSuchDomain("x"), b"250 "),
        (b"", NullMx("x"), b"250 "),
        (b"a@[192.0.2.1]", NullMx("x"), b"250 "),
    ],
)
def test_a_sender_that_could_not_be_answered(world, sender, answer, reply):
    """RFC 7505 §4.2: a stranger's mail from a domain with a null MX; what logs in is not asked."""
    world.ours()
    rules = Policy(recipients=Recipients(null_mx_senders=True))
    world.rule(rules, None, Answers(answer))
    client = world.connect("smtp", "198.51.100.9")
    client.say(b"EHLO me\r\nMAIL FROM:<%s>\r\n" % sender)
    assert client.say(b"RCPT TO:<ann@example.org>\r\n").startswith(reply)
    refusals = [one.reason for one in world.of(Refused)]
    assert refusals == (["null MX of the sender: null.example"] if reply[:1] == b"5" else [])
    trusted = world.connect("smtp", "192.0.2.7")
    trusted.say(b"EHLO me\r\nMAIL FROM:<%s>\r\n" % sender)
    assert trusted.say(TO).startswith(b"250 ")


def test_a_sender_s_domain_that_is_silent(world):
    """Nobody waits for DNS longer than a moment; then the stranger's mail is taken."""
    world.ours()
    world.rule(Policy(recipients=Recipients(null_mx_senders=True)), None, Answers(Deferred))
    client = world.connect("smtp", "198.51.100.9")
    client.say(b"EHLO me\r\nMAIL FROM:<a@slow.example>\r\n")
    assert client.say(b"RCPT TO:<ann@example.org>\r\n") == b""
    world.clock.advance(2.1)
    assert client.read().startswith(b"250 ")


def test_dns_that_is_silent(world):
    """Nobody waits for DNS longer than a moment; then the recipient is accepted."""
    world.rule(Policy(recipients=Recipients(null_mx=True)), None, Answers(Deferred))
    client = world.connect()
    client.say(b"EHLO me\r\n" + MAIL)
    assert client.say(TO) == b""
    world.clock.advance(2.1)
    assert client.read().startswith(b"250 ")
    assert client.say(b"RCPT TO:<x@elsewhere.example>\r\n").startswith(b"250 ")  # at once


def test_one_domain_is_silent_and_dns_is_not(world):
    """A domain that never answers does not end the asking about others, which have answered."""
    silent, answered = Deferred(), Deferred()
    answers = {"slow.example": silent, "good.example": answered, "none.example": fail(NullMx("x"))}

    class ByDomain:
        def hosts(self, domain):
            return answers[domain]

    world.rule(Policy(recipients=Recipients(null_mx=True)), None, ByDomain())
    one, two = world.connect(), world.connect()
    for client in (one, two):
        client.say(b"EHLO me\r\n" + MAIL)
    assert one.say(b"RCPT TO:<x@slow.example>\r\n") == b""
    assert two.say(b"RCPT TO:<x@good.example>\r\n") == b""
    answered.callback(())
    assert two.read().startswith(b"250 ")
    world.clock.advance(2.1)
    assert one.read().startswith(b"250 ")
    assert one.say(b"RCPT TO:<x@none.example>\r\n").startswith(b"556 5.1.10 ")


def test_mail_that_does_not_go_by_mx_asks_nothing(world):
    """To a smarthost, chosen by the sender's domain, and to an address, no domain is looked up."""
    asked = []

    class Noting:
        def hosts(self, domain):
            asked.append(domain)
            return fail(NullMx(domain))

    world.rule(Policy(recipients=Recipients(null_mx=True)), None, Noting())
    world.gate.destination = lambda sender, domain: (
        "smarthost:all" if sender == "ann@example.org" else f"mx:{domain}"
    )
    client = world.connect()
    client.say(b"EHLO me\r\n" + MAIL)
    assert client.say(TO).startswith(b"250 ")
    client.say(b"RSET\r\nMAIL FROM:<>\r\n")
    client.say(b"RCPT TO:<x@[192.0.2.1]>\r\n")
    assert asked == []
    assert client.say(TO).startswith(b"556 5.1.10 ")


@pytest.mark.parametrize(
    ("routed", "asks"), [("ann@example.org", False), ("ann@old.example", True)]
)
def test_route_of_the_sender_that_it_becomes(world, routed, asks):
    """Whether the domain matters is asked of the route that the mail will take: the sender's who
    stands in the envelope after the tables, as the queue does."""
    asked = []

    class Noting:
        def hosts(self, domain):
            asked.append(domain)
            return fail(NullMx(domain))

    world.ours()
    world.rule(Policy(recipients=Recipients(null_mx=True)), None, Noting())
    world.gate.destination = lambda sender, domain: (
        "smarthost:all" if sender == routed else f"mx:{domain}"
    )
    client = world.connect()
    client.say(b"EHLO me\r\nMAIL FROM:<ann@old.example>\r\n")
    refused = client.say(TO).startswith(b"556 ")
    assert (refused, asked) == (asks, ["example.com"] * asks)


def test_forbidden_and_suppressed(world):
    """Forbidden, not allowed and suppressed look the same to the client, not in the log."""

    class Listed:
        def read(self, fn, address, login):
            entry = Suppression(address, "", "complained", "me", 0)
            return succeed(entry if address == "b@example.com" else None)

    rules = Recipients(forbidden=(AddressPattern.of("example.net"),))
    world.rule(Policy(recipients=rules), Listed())
    client = world.connect()
    client.say(b"EHLO me\r\n" + MAIL)
    assert codes(client.say(b"RCPT TO:<x@example.org>\r\n")) == [250]
    assert client.say(TO) == client.say(b"RCPT TO:<x@example.net>\r\n")
    one, two = world.of(Refused)
    assert one.reason == "suppressed: b@example.com (complained)"
    assert two.reason == "forbidden destination"


@pytest.mark.parametrize(
    "other",
    [b'"b"@example.com', b'"\\b"@example.com', b"B@EXAMPLE.com", b"@x.example:b@example.com"],
)
def test_a_way_past_the_lists(world, other):
    """Attack: the same mailbox written otherwise, past the suppression list and past a rule."""

    class Listed:
        def read(self, fn, address, login):
            entry = Suppression(address, "", "complained", "me", 0)
            return succeed(entry if address == "b@example.com" else None)

    world.rule(Policy(), Listed())
    client = world.connect()
    client.say(b"EHLO me\r\n" + MAIL)
    assert client.say(b"RCPT TO:<%s>\r\n" % other).startswith(b"550 5.7.1 ")
    world.rule(Policy(recipients=Recipients(forbidden=(AddressPattern.of("b@example.com"),))))
    client = world.connect()
    client.say(b"EHLO me\r\n" + MAIL)
    assert client.say(b"RCPT TO:<%s>\r\n" % other).startswith(b"550 5.7.1 ")


def test_suppression_list_away(world):
    """While the list cannot be read recipients are put off, not let through."""

    class Away:
        def read(self, fn, *args):
            return fail(RuntimeError("away"))

    world.rule(Policy(), Away())
    client = world.connect()
    client.say(b"EHLO me\r\n" + MAIL)
    assert client.say(TO).startswith(b"451 4.3.0 ")


def test_reload(world):
    """Another policy is in force for clients that come then."""
    world.rule(owned())
    before = ann(world)
    world.gate.use(Policy())
    assert codes(before.say(b"MAIL FROM:<x@evil.test>\r\n")) == [550]
    assert codes(ann(world).say(b"MAIL FROM:<x@evil.test>\r\n")) == [250]


def test_trusted_network_without_login(world):
    """A rule for a network holds for clients that did not log in."""
    who = Who(clients=(ipaddress.ip_network("192.0.2.0/24"),))
    rule = SenderRule("inside", who, ("@example.org",))
    world.rule(Policy(senders=Senders((rule,))))
    client = world.connect()
    client.say(b"EHLO me\r\n")
    assert codes(client.say(b"MAIL FROM:<x@evil.test>\r\n" + MAIL)) == [550, 250]
