"""Real filters before the running service: OpenDKIM, and a program on libmilter."""

import hashlib
import random
import signal
import smtplib
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import dkim
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from real_filters import EveryChange, OpenDkim, RealFilter, has_opendkim, has_pymilter
from receiver import Receiver
from relay_process import Relay, eventually, free_port

from mta.dkim.keys import Key

pytestmark = pytest.mark.flow

needs_opendkim = pytest.mark.skipif(
    not has_opendkim(), reason="needs opendkim (Debian package opendkim)"
)
needs_libmilter = pytest.mark.skipif(
    not has_pymilter(), reason="needs pymilter for /usr/bin/python3 (Debian: python3-milter)"
)

Receivers = Callable[..., Receiver]
Relays = Callable[..., Relay]

KEY = Key("home.test", "s1", rsa.generate_private_key(public_exponent=65537, key_size=2048))


@pytest.fixture
def filters() -> Iterator[Callable[..., RealFilter]]:
    """Start filters; all are stopped afterwards."""
    started: list[RealFilter] = []

    def start(kind: type[RealFilter], directory: Path, *arguments: object) -> RealFilter:
        directory.mkdir(exist_ok=True)
        started.append(kind(directory, *arguments))  # type: ignore[call-arg, arg-type]
        return started[-1]

    yield start
    for one in started:
        one.close()


def table(name: str, place: str, more: str = "") -> str:
    return f'\n[[milter]]\nname = "{name}"\nendpoint = "{place}"\n{more}\n'


def submit(
    relay: Relay,
    do: str,
    recipients: tuple[str, ...] = ("u@there.test",),
    text: str = "Hello.\n",
    sender: str = "app@home.test",
) -> str:
    """Submit a message; return what is said to it."""
    message = (
        f"From: App <app@home.test>\nTo: {recipients[0]}\nSubject: {do}\n"
        f"X-Do: {do}\nX-Gone: here\n\n{text}"
    )
    with relay.client() as client:
        client.ehlo("app.home.test")
        client.mail(sender)
        for recipient in recipients:
            client.rcpt(recipient)
        code, said = client.data(message.replace("\n", "\r\n"))
        return f"{code} {said.decode()}"


def trace_of(relay: Relay, said: str) -> str:
    """What ``mta trace`` tells of the message that was accepted with ``said``."""
    return relay.mta("trace", said.rpartition(" ")[2]).stdout


def verify(message: bytes) -> bool:
    """What dkimpy says of the signature on top."""
    records = {KEY.record_name: KEY.record.encode()}
    message = message.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    found = dkim.verify(message, dnsfunc=lambda name, timeout=5: records.get(name.decode()[:-1]))
    return bool(found)


def write_key(path: Path) -> None:
    path.write_bytes(
        KEY.private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    path.chmod(0o600)


@needs_opendkim
def test_opendkim_signs(
    receivers: Receivers, relays: Relays, filters: Callable[..., OpenDkim], tmp_path: Path
) -> None:
    """What OpenDKIM signs as a filter verifies where it arrives, a large message as well."""
    write_key(tmp_path / "key")
    place = f"inet:{free_port()}@127.0.0.1"
    filters(
        OpenDkim, tmp_path / "filter", place,
        f"Mode s\nDomain home.test\nSelector s1\nKeyFile {tmp_path}/key\n"
        "Canonicalization relaxed/simple\nOversignHeaders From\nMTA submissions\n",
    )  # fmt: skip
    receiver = receivers()
    relay = relays(receiver.port, table("opendkim", place, 'mail = "submission"'))
    relay.start()
    said = submit(relay, "signed")
    assert said.startswith("250")
    random.seed(5)
    lines = (random.randbytes(300).hex() + "\n" for _ in range(3000))
    submit(relay, "large", text="".join(lines))
    receiver.wait(2)
    for _, _, content in receiver.envelopes:
        assert content.startswith(b"DKIM-Signature: ")
        assert b"d=home.test; s=s1;" in content
        assert verify(content)
    assert "examined by milter opendkim: accept; added DKIM-Signature" in trace_of(relay, said)
    eventually(lambda: "opendkim: examined: accept; added DKIM-Signature" in relay.log)
    assert relay.stop() == 0


@needs_opendkim
def test_opendkim_verifies_what_others_have_signed(
    receivers: Receivers, relays: Relays, filters: Callable[..., OpenDkim], tmp_path: Path
) -> None:
    """A good signature gets a good result on top, and a forged message is refused."""
    (tmp_path / "records").write_text(f"{KEY.record_name} {KEY.record}\n")
    place = f"local:{tmp_path}/opendkim.sock"
    filters(
        OpenDkim, tmp_path / "filter", place,
        f"Mode v\nTestPublicKeys {tmp_path}/records\nOn-BadSignature reject\n"
        "AuthservID relay.test\nAlwaysAddARHeader yes\n",
    )  # fmt: skip
    port = free_port()
    listener = (
        f'\n[[listener]]\nname = "inside"\nendpoint = "127.0.0.1:{port}"\ntls = "none"\n'
        'auth = "none"\ntrusted_networks = ["127.0.0.0/8"]\n'
    )
    receiver = receivers()
    relay = relays(receiver.port, listener + table("opendkim", place, 'listeners = ["inside"]'))
    relay.start()
    message = (
        b"From: a@home.test\r\nTo: u@there.test\r\nSubject: x\r\n"
        b"Date: Tue, 25 Nov 2025 00:00:00 +0000\r\nMessage-ID: <1@home.test>\r\n\r\nHi\r\n"
    )
    key = tmp_path / "k"
    write_key(key)
    signature = dkim.sign(message, b"s1", b"home.test", key.read_bytes())
    with smtplib.SMTP("127.0.0.1", port, timeout=30) as client:
        client.sendmail("a@home.test", ["u@there.test"], signature + message)
        with pytest.raises(smtplib.SMTPDataError) as refused:
            client.sendmail(
                "a@home.test", ["u@there.test"], signature + message.replace(b"Hi", b"Ho")
            )
    assert refused.value.smtp_code == 550
    receiver.wait(1)
    content = receiver.envelopes[0][2]
    assert b"Authentication-Results: relay.test;" in content.partition(b"\r\n\r\n")[0]
    assert b"dkim=pass" in content.partition(b"\r\n\r\n")[0]
    assert verify(content.replace(b"\r\n", b"\n"))
    eventually(lambda: "milter opendkim: 550" in relay.log)
    assert relay.stop() == 0


@needs_libmilter
def test_every_change_of_libmilter(
    receivers: Receivers, relays: Relays, filters: Callable[..., EveryChange], tmp_path: Path
) -> None:
    """All that a filter can do, done by the library that filters are written with."""
    place = f"inet:{free_port()}@127.0.0.1"
    every = filters(EveryChange, tmp_path / "filter", place)
    receiver = receivers()
    relay = relays(receiver.port, table("every", place))
    relay.mta("dkim", "generate", "home.test", "--type", "ed25519", "--selector", "e1")
    relay.start()
    said = submit(
        relay, "do-everything"[3:], ("u@there.test", "refused@there.test", "removed@there.test")
    )
    assert said.startswith("250 2.0.0 Ok: queued as")
    receiver.wait_until(lambda: sum(len(one[1]) for one in receiver.envelopes) >= 3)
    sender, _, content = receiver.envelopes[0]
    recipients = {one for _, some, _ in receiver.envelopes for one in some}
    assert sender == "changed@home.test"
    assert recipients == {"u@there.test", "added@there.test", "quiet@there.test"}
    header, _, body = content.partition(b"\r\n\r\n")
    assert body == b"The body\r\nof the filter.\r\n"
    assert b"\r\nX-Inserted: on top\r\n\tof the others\r\n" in header
    assert header.endswith(b"X-Added: last")
    assert b"\r\nSubject: changed\r\n" in header
    assert b"X-Gone" not in header
    assert header.startswith(b"DKIM-Signature: ")
    assert verify_ours(relay, content)
    told = trace_of(relay, said)
    assert "examined by milter every: accept; added X-Added; added X-Inserted" in told
    assert "discard by milter every" in told
    heard = every.heard[0]
    id = said.rpartition(" ")[2]
    assert heard["macros"]["i"] == id
    assert heard["macros"]["{auth_authen}"] == "app7"
    assert heard["macros"]["{daemon_name}"] == "submissions"
    assert heard["macros"]["{client_addr}"] == "127.0.0.1"
    assert heard["macros"]["{tls_version}"].startswith("TLSv1.")
    assert heard["macros"]["j"] == "relay.test"
    assert heard["connect"] == ["unknown", "127.0.0.1"]
    assert heard["from"][0] == "<app@home.test>"
    assert [one[0] for one in heard["to"]] == [
        "<u@there.test>", "<refused@there.test>", "<removed@there.test>",
    ]  # fmt: skip
    names = [name for name, _ in heard["headers"]]
    assert names == ["Date", "Message-ID", "From", "To", "Subject", "X-Do", "X-Gone"]
    assert relay.stop() == 0


def verify_ours(relay: Relay, content: bytes) -> bool:
    lines = relay.mta("dkim", "dns", "home.test").stdout.splitlines()
    name, _, text = next(line for line in lines if " IN TXT ( " in line).partition(". IN TXT ( ")
    records = {name: "".join(text.split('"')[1::2]).encode()}
    content = content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    return bool(dkim.verify(content, dnsfunc=lambda at, timeout=5: records.get(at.decode()[:-1])))


@needs_libmilter
def test_words_against_a_message_and_large_bodies(
    receivers: Receivers, relays: Relays, filters: Callable[..., EveryChange], tmp_path: Path
) -> None:
    """Refused, deferred, held, dropped; a body of megabytes shown and replaced."""
    place = f"unix:{tmp_path}/every.sock"
    every = filters(EveryChange, tmp_path / "filter", place)
    receiver = receivers(data_size_limit=1 << 26)
    relay = relays(receiver.port, table("every", place))
    relay.start()
    assert submit(relay, "reject") == "554 5.7.1 Not\n5.7.1 this one"
    assert submit(relay, "reject-at-header").startswith("550 5.7.1 Command rejected")
    assert submit(relay, "tempfail").startswith("451 4.7.1 Service unavailable")
    held = submit(relay, "quarantine")
    assert "hold by policy: milter every: smells of spam" in trace_of(relay, held)
    dropped = submit(relay, "discard")
    assert dropped.startswith("250")
    assert "discard by milter every" in trace_of(relay, dropped)
    assert "removed" in trace_of(relay, dropped)
    random.seed(6)
    text = "".join(random.randbytes(300).hex() + "\n" for _ in range(8000))
    shouted = submit(relay, "shout", text=text)
    assert shouted.startswith("250")
    assert submit(relay, "replace-large").startswith("250")
    receiver.wait(2)
    by_subject = {
        content.partition(b"\nSubject: ")[2].split()[0]: content.replace(b"\r\n", b"\n")
        for _, _, content in receiver.envelopes
    }
    body = by_subject[b"shout"].partition(b"\n\n")[2]
    assert hashlib.sha256(body).digest() == hashlib.sha256(text.upper().encode()).digest()
    assert by_subject[b"replace-large"].partition(b"\n\n")[2] == (b"0123456789" * 90 + b"\n") * 1000
    assert every.heard[-2]["body"] == len(text) + 8000
    assert "body replaced" in trace_of(relay, shouted)
    assert relay.stop() == 0


@needs_libmilter
def test_the_filter_dies_and_comes_back(
    receivers: Receivers, relays: Relays, filters: Callable[..., EveryChange], tmp_path: Path
) -> None:
    """tempfail while it is away; a reload lets mail through; back again, it is asked again."""
    place = f"inet:{free_port()}@127.0.0.1"
    every = filters(EveryChange, tmp_path / "filter", place)
    receiver = receivers()
    relay = relays(receiver.port, table("every", place))
    relay.start()
    with relay.client() as client:
        client.sendmail("app@home.test", ["u@there.test"], "Subject: one\r\n\r\n1\r\n")
        every.process.send_signal(signal.SIGKILL)
        every.process.wait(10)
        with pytest.raises(smtplib.SMTPSenderRefused) as refused:
            client.sendmail("app@home.test", ["u@there.test"], "Subject: two\r\n\r\n2\r\n")
        assert refused.value.smtp_code == 451
    text = relay.config.read_text()
    relay.config.write_text(text.replace('name = "every"', 'name = "every"\nwhen_away = "accept"'))
    relay.tell(signal.SIGHUP)
    eventually(lambda: "reloaded" in relay.log)
    said = submit(relay, "three")
    assert "not examined by milter every: it cannot be reached: " in trace_of(relay, said)
    filters(EveryChange, tmp_path / "again", place)
    assert "examined by milter every: continue" in trace_of(relay, submit(relay, "four"))
    receiver.wait(3)
    assert relay.stop() == 0


def test_a_filter_that_is_no_place_is_refused_at_the_start(
    receivers: Receivers, relays: Relays
) -> None:
    """What, where, and what to do."""
    good = table("y", "inet:1@127.0.0.1", 'listeners = ["nowhere"]')
    relay = relays(receivers().port, table("x", "somewhere") + good)
    done: subprocess.CompletedProcess[str] = relay.mta("config", "check", check=False)
    assert done.returncode != 0
    assert 'milter["x"].endpoint' in done.stdout + done.stderr
    assert "inet:127.0.0.1:8891" in done.stdout + done.stderr
    relay.config.write_text(relay.config.read_text().replace("somewhere", "inet:2@127.0.0.1"))
    done = relay.mta("config", "check", check=False)
    assert 'milter["y"].listeners: there is no listener "nowhere"' in done.stdout + done.stderr
