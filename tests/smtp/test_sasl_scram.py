"""SCRAM without I/O: the standards' vectors, an independent client, and attacks."""

import base64
import hashlib
import hmac

import pytest
from scramp import ScramClient, ScramException

from mta.smtp.mechanisms import MECHANISMS
from mta.smtp.sasl import (
    Binding,
    Challenge,
    Disproved,
    KeysWanted,
    Proved,
    SaslError,
    StoredKeys,
    Surroundings,
)

EXPORTER = Binding("tls-exporter", lambda: b"\x07" * 32)
UNIQUE = Binding("tls-unique", lambda: b"\x07" * 12)


def stored(password="pencil", salt=b"salt" * 4, iterations=4096, hash_name="sha256", refused=""):
    """Keys as RFC 5802 §3 makes them, independently of ours."""
    salted = hashlib.pbkdf2_hmac(hash_name, password.encode(), salt, iterations)
    client_key = hmac.digest(salted, b"Client Key", hash_name)
    return StoredKeys(
        "user",
        salt,
        iterations,
        hashlib.new(hash_name, client_key).digest(),
        hmac.digest(salted, b"Server Key", hash_name),
        refused,
    )


def exchange(name, binding=None, plus_offered=False, nonce="server-nonce"):
    """One exchange of ours."""
    return MECHANISMS[name](Surroundings(binding, plus_offered, lambda: nonce))


def test_rfc_5802_section_5():
    """The example of RFC 5802 §5, octet by octet."""
    one = exchange("SCRAM-SHA-1", nonce="3rfcNHYJY1ZVvWVs7j")
    keys = stored(salt=base64.b64decode("QSXCR+Q6sek8bf92"), hash_name="sha1")
    assert one.step(b"n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL") == KeysWanted(
        "SCRAM-SHA-1", "user", "sha1"
    )
    assert one.supply(keys) == Challenge(
        b"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096"
    )
    assert one.step(
        b"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts="
    ) == Challenge(b"v=rmF9pqV8S7suAoZWja4dJRkFsKQ=")
    assert one.step(b"") == Proved("SCRAM-SHA-1", "user")


def test_rfc_7677_section_3():
    """The example of RFC 7677 §3, octet by octet."""
    nonce = b"rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    one = exchange("SCRAM-SHA-256", nonce="%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0")
    one.step(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO")
    first = one.supply(stored(salt=base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")))
    assert first == Challenge(b"r=" + nonce + b",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096")
    final = b"c=biws,r=" + nonce + b",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    assert one.step(final) == Challenge(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")
    assert one.step(b"") == Proved("SCRAM-SHA-256", "user")


def converse(client, one, keys):
    """A whole exchange with an independent client; return what we make of it."""
    wanted = one.step(client.get_client_first().encode())
    if not isinstance(wanted, KeysWanted):
        return wanted
    client.set_server_first(one.supply(keys).data.decode())
    last = one.step(client.get_client_final().encode())
    if not isinstance(last, Challenge):
        return last
    client.set_server_final(last.data.decode())
    return one.step(b"")


@pytest.mark.parametrize("name", [n for n in MECHANISMS if n.startswith("SCRAM")])
def test_an_independent_client(name):
    """scramp proves itself to us and we to it, with channel binding (tls-unique) and without."""
    binding = UNIQUE if name.endswith("-PLUS") else None
    shown = ("tls-unique", UNIQUE.data()) if binding else None
    hash_name = "sha1" if "SHA-1" in name else "sha256"
    for password, refused in (("pencil", ""), ("crayon", "credentials")):
        client = ScramClient([name], "user", password, channel_binding=shown)
        end = converse(client, exchange(name, binding), stored(hash_name=hash_name))
        assert end == (Disproved(name, "user", refused) if refused else Proved(name, "user"))


def test_attack_man_in_the_middle_with_another_channel():
    """Attack: an exchange relayed over a TLS connection of the attacker's own fails."""
    name = "SCRAM-SHA-256-PLUS"
    client = ScramClient([name], "user", "pencil", channel_binding=("tls-unique", b"\x08" * 12))
    end = converse(client, exchange(name, UNIQUE), stored())
    assert end == Disproved(name, "user", "channel binding")


def test_attack_downgrade():
    """Attack: -PLUS cut out of our list; the client's ``y`` under its proof gives it away."""
    first = b"y,,n=user,r=abc"
    one = exchange("SCRAM-SHA-256", EXPORTER, plus_offered=True)
    assert one.step(first) == Disproved("SCRAM-SHA-256", "user", "downgrade")
    # where we did not offer it, y is honest (RFC 5802 §6)
    assert isinstance(exchange("SCRAM-SHA-256").step(first), KeysWanted)
    # and n is a client that cannot do it
    one = exchange("SCRAM-SHA-256", EXPORTER, plus_offered=True)
    assert isinstance(one.step(b"n,,n=user,r=abc"), KeysWanted)


@pytest.mark.parametrize(
    ("name", "first", "reason"),
    [
        ("SCRAM-SHA-256-PLUS", b"p=tls-unique,,n=u,r=abc", "unsupported channel binding"),
        ("SCRAM-SHA-256-PLUS", b"p=tls-server-end-point,,n=u,r=abc", "unsupported channel binding"),
        ("SCRAM-SHA-256-PLUS", b"n,,n=u,r=abc", "no channel binding"),
        ("SCRAM-SHA-256-PLUS", b"y,,n=u,r=abc", "no channel binding"),
        ("SCRAM-SHA-256", b"p=tls-exporter,,n=u,r=abc", "channel binding without -PLUS"),
    ],
)
def test_binding_that_cannot_be(name, first, reason):
    """Attack: types that we don't have, or that do not fit the mechanism, are refused."""
    assert exchange(name, EXPORTER, True).step(first) == Disproved(name, "u", reason)


@pytest.mark.parametrize(
    "first",
    [
        b"",
        b"n=user,r=abc",
        b"n,n=user,r=abc",
        b"x,,n=user,r=abc",
        b"n,,m=ext,n=user,r=abc",  # an extension that must be understood
        b"n,,n=,r=abc",
        b"n,,n=user",
        b"n,,n=user,r=",
        b"n,,n=user,r=a b",
        b"n,,n=us=20er,r=abc",
        b"n,,n=user,r=abc,",
        b"n,,n=user,r=abc,r=def",
        b"n,,n=user,r=abc,i=1",
        b"n,,n=a\0b,r=abc",
        b"n,,n=\xff,r=abc",
        b"n,a=root,n=user,r=abc",
        b"n,,n=user,r=abc\n",
        b"n,,n=user,r=" + b"x" * 513,
    ],
)
def test_attack_malformed_first(first):
    """Attack: nothing but RFC 5802 §7's grammar is taken, and nobody acts for another."""
    with pytest.raises(SaslError):
        exchange("SCRAM-SHA-256").step(first)


def test_names_with_commas():
    """A saslname is unescaped; the authorization identity may repeat it; extensions pass."""
    one = exchange("SCRAM-SHA-256")
    wanted = one.step(b"n,a=a=2Cb=3Dc,n=a=2Cb=3Dc,r=abc,x=more")
    assert wanted == KeysWanted("SCRAM-SHA-256", "a,b=c", "sha256")


NONCE = b"abcserver-nonce"


@pytest.mark.parametrize(
    ("final", "reason"),
    [
        (b"c=biws,r=abcserver-nonc,p=AAAA", "nonce"),
        (b"c=biws,r=server-nonce,p=AAAA", "nonce"),
        (b"c=eSws,r=%b,p=AAAA" % NONCE, "channel binding"),  # the flag changed on its way
        (b"c=biws,r=%b,p=AAAA" % NONCE, "credentials"),
        (b"c=biws,r=%b,p=%b" % (NONCE, base64.b64encode(bytes(32))), "credentials"),
        (b"c=biws,r=%b,p=%b" % (NONCE, base64.b64encode(bytes(64))), "credentials"),
    ],
)
def test_attack_final(final, reason):
    """Attack: a nonce that is not ours, another header, a proof that is short, long or nought."""
    one = exchange("SCRAM-SHA-256")
    one.step(b"n,,n=user,r=abc")
    one.supply(stored())
    assert one.step(final) == Disproved("SCRAM-SHA-256", "user", reason)


@pytest.mark.parametrize(
    "final",
    [
        b"",
        b"c=biws,r=abcserver-nonce",
        b"r=abcserver-nonce,c=biws,p=AAAA",
        b"c=biws,r=abcserver-nonce,p=AAAA,x=1",
        b"c=biws,r=abcserver-nonce,p=A",
        b"c=biws,r=abcserver-nonce,p=AAAA\n",
        b"c=bi*s,r=abcserver-nonce,p=AAAA",
    ],
)
def test_attack_malformed_final(final):
    """Attack: the final message is the grammar's or an error."""
    one = exchange("SCRAM-SHA-256")
    one.step(b"n,,n=user,r=abc")
    one.supply(stored())
    with pytest.raises(SaslError):
        one.step(final)


def test_disabled():
    """Who proves a disabled account's password gets no signature, and the log the reason."""
    client = ScramClient(["SCRAM-SHA-256"], "user", "pencil")
    end = converse(client, exchange("SCRAM-SHA-256"), stored(refused="disabled"))
    assert end == Disproved("SCRAM-SHA-256", "user", "disabled")


def test_nonces_differ():
    """Attack: replay.  Our half of the nonce is new each time."""
    firsts = set()
    for _ in range(3):
        one = MECHANISMS["SCRAM-SHA-256"](Surroundings())
        one.step(b"n,,n=user,r=abc")
        firsts.add(one.supply(stored()).data)
    assert len(firsts) == 3


def test_the_client_finds_out_a_false_server():
    """Who has not the server key cannot prove to be us: the binding is mutual."""
    keys = stored()
    false = StoredKeys("user", keys.salt, keys.iterations, keys.stored_key, bytes(32))
    client = ScramClient(["SCRAM-SHA-256"], "user", "pencil")
    with pytest.raises(ScramException):
        converse(client, exchange("SCRAM-SHA-256"), false)


def test_nothing_secret_is_shown():
    """No representation has a key in it."""
    keys = stored()
    assert repr(keys.stored_key) not in repr(keys)
    assert repr(keys.server_key) not in repr(keys)
    assert "07" not in repr(EXPORTER)
