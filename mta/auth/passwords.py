"""What is kept of a password, and how one is compared with it (RFC 5802 §3, RFC 7677).

The stored form is that of SCRAM-SHA-256: salt, iteration count, StoredKey, ServerKey.  One
form serves PLAIN and LOGIN, where the client shows the password, and SCRAM, where it does
not.  SCRAM-SHA-1 has keys of its own, with another salt: none can be had from the others.
Whoever reads the table can neither log in by SCRAM nor read the password; he can guess at it
off line, and each guess costs ``ITERATIONS`` rounds.

The cost.  100,000 rounds of PBKDF2-HMAC-SHA-256 took 18 ms on the 2025 server processor with
SHA instructions where this was written, and take some 60 ms without them.  RFC 7677 §4 asks
for 4,096 at least and recommends 15,000 as of 2015; OWASP's 600,000 is meant for log-ins by
people, a few a day.  Here machines log in all the time, a SCRAM client has to pay the same
price as we do, and a guesser on the network must not be able to buy half a second of our
processor with one line.  ``hashlib.pbkdf2_hmac`` is OpenSSL's and runs without the
interpreter's lock, so in a thread it delays no session.  The count stands in each row: it
can be raised, and older rows stay valid.

Not here: who may log in (``credentials``), channel binding, SCRAM's messages.
"""

import hashlib
import hmac
import secrets
import stringprep
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field

ITERATIONS = 100_000
SALT_OCTETS = 16
SHA256 = "sha256"  # hashlib's names
SHA1 = "sha1"
_LONGEST_LOGIN = 255

_PROHIBITED = (
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
)


@dataclass(frozen=True, slots=True)
class Keys:
    """The SCRAM keys of one account, for one hash.  Its repr shows none of them."""

    salt: bytes = field(repr=False)
    iterations: int
    stored_key: bytes = field(repr=False)
    server_key: bytes = field(repr=False)


def prepare(text: str) -> str:
    """Return ``text`` by SASLprep (RFC 4013), as RFC 5802 and RFC 4616 ask of login and password.

    ``ValueError`` where a character is not allowed (controls, NUL, surrogates, mixed
    directions); its text never quotes what was given.  Two choices: code points that Unicode
    3.2 did not know pass, as in a SASLprep query (people do use emoji), and normalisation is
    that of the running Python, which is stable for assigned characters.
    """
    if text.isascii() and text.isprintable():
        return text
    mapped = "".join(
        " " if stringprep.in_table_c12(c) else c for c in text if not stringprep.in_table_b1(c)
    )
    prepared = unicodedata.normalize("NFKC", mapped)
    for character in prepared:
        if any(prohibits(character) for prohibits in _PROHIBITED):
            raise ValueError("contains a character that SASLprep (RFC 4013) does not allow")
    _check_direction(prepared)
    return prepared


def _check_direction(text: str) -> None:
    """Raise ``ValueError`` for a mixture of directions that RFC 3454 §6 prohibits."""
    if not any(map(stringprep.in_table_d1, text)):
        return
    ends_well = stringprep.in_table_d1(text[0]) and stringprep.in_table_d1(text[-1])
    if not ends_well or any(map(stringprep.in_table_d2, text)):
        raise ValueError("mixes writing directions in a way that RFC 3454 does not allow")


def prepare_login(text: str) -> str:
    """Return the login that ``text`` names; ``ValueError`` for what can be no login.

    Logins are compared as they are, case included.
    """
    login = prepare(text)
    if not login:
        raise ValueError("is empty")
    if len(login) > _LONGEST_LOGIN:
        raise ValueError(f"is longer than {_LONGEST_LOGIN} characters")
    return login


def derive(password: str, salt: bytes, iterations: int, hash_name: str = SHA256) -> Keys:
    """Return the keys of a password that ``prepare`` has returned.  Slow: run it in a thread."""
    salted = hashlib.pbkdf2_hmac(hash_name, password.encode(), salt, iterations)
    client_key = hmac.digest(salted, b"Client Key", hash_name)
    stored_key = hashlib.new(hash_name, client_key).digest()
    return Keys(salt, iterations, stored_key, hmac.digest(salted, b"Server Key", hash_name))


def new_keys(
    password: str,
    iterations: int = ITERATIONS,
    random: Callable[[int], bytes] = secrets.token_bytes,
    hash_name: str = SHA256,
) -> Keys:
    """Return fresh keys for a new password; ``ValueError`` says what is wrong with it."""
    prepared = prepare(password)
    if not prepared:
        raise ValueError("is empty")
    return derive(prepared, random(SALT_OCTETS), iterations, hash_name)


def verify(password: str, keys: Keys) -> bool:
    """Tell whether ``password`` (prepared) made ``keys``: one derivation, constant-time."""
    return hmac.compare_digest(
        derive(password, keys.salt, keys.iterations).stored_key, keys.stored_key
    )


def fake_keys(login: str, secret: bytes, hash_name: str = SHA256) -> Keys:
    """Return keys for a login that does not exist, so that it costs what one that does costs.

    The salt is a function of the login: asked twice, it is the same, as a real account's would
    be; ``secret`` must be as lasting as accounts are where a client sees the salt.  No password
    is known that makes the stored key.
    """
    name = hash_name.encode() + b"\0" + login.encode("utf-8", "surrogatepass")

    def made(what: bytes) -> bytes:
        return hmac.digest(secret, what + b"\0" + name, hash_name)

    salt = hmac.digest(secret, b"salt\0" + name, SHA256)[:SALT_OCTETS]
    return Keys(salt, ITERATIONS, made(b"stored key"), made(b"server key"))
