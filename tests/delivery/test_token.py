"""Tokens for smarthosts: when the endpoint is asked, what of its answers counts, what is kept."""

import json
import os
from dataclasses import dataclass
from urllib.parse import parse_qs

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from mta.delivery.token import RETRY_S, NoToken, OAuth, TokenSource

URL = "https://login.test/token"


@dataclass
class Said:
    status: int
    body: bytes


class Endpoint:
    """Keeps what it was asked; an answer comes when a test gives it."""

    def __init__(self):
        self.asked = []
        self.waiting = []

    async def __call__(self, url, form, authorization):
        self.asked.append((url, parse_qs(form.decode()), authorization))
        answer = Deferred()
        self.waiting.append(answer)
        return await answer

    def say(self, status=200, body=None, **said):
        said = {"token_type": "Bearer", "expires_in": 1000, **said}
        octets = json.dumps(said).encode() if body is None else body
        self.waiting.pop(0).callback(Said(status, octets))


@pytest.fixture
def endpoint():
    return Endpoint()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def notes():
    return []


@pytest.fixture
def make(endpoint, clock, notes):
    def made(**more):
        oauth = OAuth(URL, "we", **{"client_secret": "hush", **more})
        return TokenSource(oauth, endpoint, clock, notes.append)

    return made


def ask(source):
    """Ask for a token; return a list that its answer comes into."""
    found = []
    waiting = Deferred.fromCoroutine(source.token())
    waiting.addBoth(lambda got: found.append(got if isinstance(got, str) else got.value))
    return Asked(waiting, found)


@dataclass
class Asked:
    waiting: Deferred
    found: list

    @property
    def error(self):
        (error,) = self.found
        assert isinstance(error, NoToken), error
        return str(error)


def test_client_credentials(make, endpoint):
    """RFC 6749 §4.4.2 and §2.3.1: the grant, the scope, and our names encoded in the header."""
    source = make(client_secret="p:1 +", scope="https://mail.test/.default")
    got = ask(source)
    endpoint.say(access_token="one")
    assert got.found == ["one"]
    form = {"grant_type": ["client_credentials"], "scope": ["https://mail.test/.default"]}
    assert endpoint.asked == [(URL, form, "Basic d2U6cCUzQTErJTJC")]


def test_secret_in_the_form(make, endpoint):
    """Some endpoints want it there."""
    ask(make(client_auth="body"))
    form = {"grant_type": ["client_credentials"], "client_id": ["we"], "client_secret": ["hush"]}
    assert endpoint.asked == [(URL, form, "")]


def test_sessions_share_one_request(make, endpoint):
    """Three that need a token at once make one request; one of them may go meanwhile."""
    source = make()
    first, second, third = ask(source), ask(source), ask(source)
    first.waiting.cancel()
    endpoint.say(access_token="one")
    assert (second.found, third.found, len(endpoint.asked)) == (["one"], ["one"], 1)
    assert ask(source).found == ["one"]


def test_early_renewal(make, endpoint, clock):
    """At four fifths of its time a new one is fetched; if that fails, the old one still serves."""
    source = make()
    ask(source)
    endpoint.say(access_token="one")
    clock.advance(799)
    assert ask(source).found == ["one"]
    clock.advance(1)
    late = ask(source)
    endpoint.say(503, body=b"away")
    assert late.found == ["one"]
    assert (ask(source).found, len(endpoint.asked)) == (["one"], 2)
    clock.advance(RETRY_S)
    renewed = ask(source)
    endpoint.say(access_token="two")
    assert renewed.found == ["two"]


def test_expiry(make, endpoint, clock):
    """A token whose time is over is not used, whatever the endpoint does."""
    source = make()
    ask(source)
    endpoint.say(access_token="one")
    clock.advance(1000)
    over = ask(source)
    endpoint.say(500, body=b"")
    assert over.error == f"no token from {URL}: HTTP status 500"


@pytest.mark.parametrize(
    ("said", "lives_s"), [("60", 60), (60.5, 60.5), (None, 300), (1e12, 86400)]
)
def test_times(make, endpoint, clock, said, lives_s):
    """As number or text; not said: some minutes; without end: a day."""
    source = make()
    ask(source)
    endpoint.say(access_token="one", expires_in=said)
    clock.advance(lives_s * 0.8 - 0.25)
    assert ask(source).found == ["one"]
    clock.advance(0.5)
    ask(source)
    assert len(endpoint.asked) == 2


def test_dropped(make, endpoint):
    """A refused token is forgotten; two sessions that drop the same one make one request."""
    source = make()
    ask(source)
    endpoint.say(access_token="one")
    source.drop("one")
    again = ask(source)
    source.drop("one")
    endpoint.say(access_token="two")
    source.drop("one")
    assert (again.found, ask(source).found, len(endpoint.asked)) == (["two"], ["two"], 2)


def test_endpoint_is_left_alone_after_a_failure(make, endpoint, clock):
    """Its refusal is said in its words, and to those who come in the next seconds too."""
    source = make()
    got = ask(source)
    endpoint.say(400, error="invalid_client", error_description="AADSTS7000222: expired\x1b[2J")
    why = f"no token from {URL}: HTTP status 400: invalid_client: AADSTS7000222: expired"
    assert got.error.startswith(why)
    assert "\x1b" not in got.error
    assert ask(source).error == got.error
    assert len(endpoint.asked) == 1
    clock.advance(RETRY_S)
    ask(source)
    assert len(endpoint.asked) == 2


@pytest.mark.parametrize(
    ("status", "body", "why"),
    [
        (302, b"", "HTTP status 302"),
        (200, b"<html>", "no object"),
        (200, b"[1]", "no object"),
        (200, b"[" * 20000, "no object"),
        (200, b'{"access_token":"t","token_type":"mac"}', "not a bearer token"),
        (200, b'{"access_token":"t"}', "not a bearer token"),
        (200, b'{"token_type":"bearer"}', "no access_token"),
        (200, b'{"token_type":"bearer","access_token":"a b\\r\\nMAIL"}', "no access_token"),
        (200, b'{"token_type":"bearer","access_token":"%b"}' % (b"x" * 8001), "no access_token"),
        (200, b'{"token_type":"bearer","access_token":"t","expires_in":0}', "expired"),
        (200, b'{"token_type":"bearer","access_token":"t","expires_in":true}', "expired"),
        (200, b'{"token_type":"bearer","access_token":"t","expires_in":NaN}', "expired"),
    ],
)
def test_bad_answers(make, endpoint, status, body, why):
    """Attack or fault: what is no token for SMTP is none, and says why."""
    got = ask(make())
    endpoint.say(status, body)
    assert why in got.error


def test_an_error_that_repeats_secrets(make, endpoint, tmp_path):
    """Attack or fault: an endpoint that quotes what it was sent puts no secret into the log."""
    path = tmp_path / "refresh"
    path.write_text("re/fresh\n")
    for quoted in ("hush", "re/fresh", "re%2Ffresh"):
        got = ask(make(refresh_token_file=path))
        endpoint.say(400, error="invalid_request", error_description=f"bad: {quoted}")
        assert "withheld" in got.error
        assert quoted not in got.error


def test_no_secret_in_representations():
    """Attack: a settings object in a traceback or a log line."""
    assert "hush" not in repr(OAuth(URL, "we", "hush"))


def test_rotation(make, endpoint, clock, tmp_path, notes):
    """RFC 6749 §6: a new refresh token takes the old one's place, in its file too, mode 0600."""
    path = tmp_path / "refresh"
    path.write_text("first\n")
    path.chmod(0o640)
    source = make(refresh_token_file=path)
    ask(source)
    endpoint.say(access_token="one", refresh_token="second")
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("second\n", 0o600)
    assert sorted(one.name for one in tmp_path.iterdir()) == [".refresh.lock", "refresh"]
    source.drop("one")
    ask(source)
    endpoint.say(access_token="two")
    source.drop("two")
    path.write_text("from the operator\n")
    ask(source)
    used = [form["refresh_token"] for _, form, _ in endpoint.asked]
    assert used == [["first"], ["second"], ["from the operator"]]
    assert notes == []


def test_rotation_without_a_writable_file(make, endpoint, tmp_path, notes, monkeypatch):
    """The new one is used, and that it will be lost is said, without the token itself."""
    path = tmp_path / "refresh"
    path.write_text("first")
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everywhere
    source = make(refresh_token_file=path)
    ask(source)
    endpoint.say(access_token="one", refresh_token="second")
    source.drop("one")
    ask(source)
    assert endpoint.asked[1][1]["refresh_token"] == ["second"]
    assert path.read_text() == "first"
    (note,) = notes
    assert (note.level, "cannot be written" in note.text) == ("warning", True)
    assert "second" not in note.text


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_rotation_keeps_the_owner(make, endpoint, tmp_path):
    """Root tries the log-in from the command line: the service can read its file afterwards."""
    path = tmp_path / "refresh"
    path.write_text("first\n")
    os.chown(path, 12345, 12346)
    ask(make(refresh_token_file=path))
    endpoint.say(access_token="one", refresh_token="second")
    found = path.stat()
    assert (path.read_text(), found.st_uid, found.st_gid) == ("second\n", 12345, 12346)
    assert found.st_mode & 0o777 == 0o600
    lock = (tmp_path / ".refresh.lock").stat()
    assert (lock.st_uid, lock.st_gid, lock.st_mode & 0o777) == (12345, 12346, 0o600)


def test_one_at_a_time(make, endpoint, clock, tmp_path):
    """Two with one file: the second waits, and shows what the first was given, not what it knew."""
    path = tmp_path / "refresh"
    path.write_text("first\n")
    one, two = make(refresh_token_file=path), make(refresh_token_file=path)
    got, other = ask(one), ask(two)
    clock.advance(1)
    assert len(endpoint.asked) == 1
    endpoint.say(access_token="one", refresh_token="second")
    clock.advance(1)
    endpoint.say(access_token="two", refresh_token="third")
    assert (got.found, other.found) == (["one"], ["two"])
    assert [form["refresh_token"] for _, form, _ in endpoint.asked] == [["first"], ["second"]]
    assert path.read_text() == "third\n"
    assert clock.getDelayedCalls() == []


def test_waiting_for_others_has_an_end(make, endpoint, clock, tmp_path):
    """A process that never lets go keeps nobody for ever; who stops meanwhile leaves nothing."""
    path = tmp_path / "refresh"
    path.write_text("first\n")
    ask(make(refresh_token_file=path))
    waits, stops = make(refresh_token_file=path), make(refresh_token_file=path)
    got, gone = ask(waits), ask(stops)
    stops.stop()
    assert "stops" in gone.error
    for _ in range(700):
        clock.advance(0.05)
    assert f"another process has had {path} for 30 s" in got.error
    assert len(endpoint.asked) == 1
    assert clock.getDelayedCalls() == []
    endpoint.say(status=500)
    late = ask(make(refresh_token_file=path))
    endpoint.say(access_token="one")
    assert late.found == ["one"]


def test_refresh_token_that_is_not_there(make, endpoint, tmp_path):
    """A missing or empty file is no token for now; nobody is asked."""
    path = tmp_path / "refresh"
    assert "cannot be read" in ask(make(refresh_token_file=path)).error
    path.write_text("\n")
    assert "is empty" in ask(make(refresh_token_file=path)).error
    assert endpoint.asked == []


def test_stop(make, endpoint):
    """Who waits when the process stops is told so."""
    source = make()
    got = ask(source)
    source.stop()
    assert "stops" in got.error
