"""What ``mta dkim`` does to keys: make them, rotate them, compare them with DNS.

Works on the files; a running service sees what has changed when it is reloaded.  New keys are
written before old ones retire, so that whatever stops half-way leaves a key to sign with.
"""

import shutil
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from mta.admin.exits import Exit, Failure
from mta.dkim.keys import RSA_BITS, Algorithm, Key, KeyState, PrivateKey, states, strings
from mta.dkim.store import KeyUnusable, is_name, path_of, read_keys, write_key
from mta.dns.answers import Answer, DnsTemporary, NoSuchName
from mta.mail.address import ascii_domain

Lookup = Callable[[str, str], Awaitable[Answer]]


def all_keys(directory: Path, at_ms: int, domain: str | None = None) -> list[Key]:
    """Return the keys, of one domain or of all, as they stand now."""
    wanted = None if domain is None else domain_name(domain)
    try:
        keys = read_keys(directory)
    except KeyUnusable as error:
        raise Failure(Exit.CONFIG, str(error)) from error
    return [key for key in states(keys, _moment(at_ms)) if wanted in (None, key.domain)]


def domain_name(text: str) -> str:
    """Return a domain as keys have it; ``Failure`` (USAGE) if it is none."""
    try:
        name = ascii_domain(text)
    except ValueError as error:
        raise Failure(Exit.USAGE, str(error)) from error
    if not is_name(name):
        raise Failure(Exit.USAGE, f"{text!r} is not a domain name")
    return name


def generate(
    directory: Path, domain: str, selector: str | None, algorithms: Sequence[Algorithm], at_ms: int
) -> list[Key]:
    """Make the first keys of a domain; they are active."""
    there = all_keys(directory, at_ms, domain)
    for algorithm in algorithms:
        if any(k.algorithm is algorithm and k.state is not KeyState.RETIRED for k in there):
            raise Failure(
                Exit.CANNOT_CREATE,
                f"{domain} has a key for {algorithm} already: 'mta dkim rotate {domain}' makes"
                " the one to follow it",
            )
    names = _selectors(there, selector, algorithms, at_ms)
    keys = [
        Key(domain_name(domain), name, _private(algorithm), created=_moment(at_ms))
        for name, algorithm in zip(names, algorithms, strict=True)
    ]
    return _written(directory, keys)


def give(directory: Path, keys: Sequence[Key], owner: str) -> None:
    """Make ``owner`` the owner of these keys, and of the directories that they lie in."""
    paths = [path_of(directory, key) for key in keys]
    for path in (directory, *{path.parent for path in paths}, *paths):
        try:
            shutil.chown(path, user=owner)
        except LookupError as error:
            raise Failure(Exit.NO_USER, f"there is no user {owner!r}") from error


def prepare(
    directory: Path, domain: str, selector: str | None, wait: timedelta | None, at_ms: int
) -> list[Key]:
    """Make the keys that will follow the active ones, active by themselves after ``wait``."""
    there = all_keys(directory, at_ms, domain)
    active = sorted({key.algorithm for key in there if key.state is KeyState.ACTIVE}, reverse=True)
    if not active:
        raise Failure(
            Exit.NOTHING, f"{domain} has no active key: 'mta dkim generate {domain}' makes one"
        )
    waiting = [key.selector for key in there if key.state is KeyState.NEXT]
    if waiting:
        raise Failure(
            Exit.CANNOT_CREATE,
            f"{domain} has a next key already ({', '.join(waiting)}): publish it, then"
            f" 'mta dkim rotate {domain} --activate'",
        )
    now = _moment(at_ms)
    begin = None if wait is None else now + wait
    keys = [
        Key(domain_name(domain), name, _private(algorithm), KeyState.NEXT, now, begin)
        for name, algorithm in zip(_selectors(there, selector, active, at_ms), active, strict=True)
    ]
    return _written(directory, keys)


def activate(directory: Path, domain: str, at_ms: int) -> tuple[list[Key], list[Key]]:
    """Let the next keys be active and retire those before them; return both."""
    there = all_keys(directory, at_ms, domain)
    risen = [
        replace(key, state=KeyState.ACTIVE, active_from=None)
        for key in there
        if key.state is KeyState.NEXT
    ]
    if not risen:
        raise Failure(
            Exit.NOTHING, f"{domain} has no next key: 'mta dkim rotate {domain}' makes one"
        )
    kinds = {key.algorithm for key in risen}
    before = [key for key in there if key.state is not KeyState.NEXT and key.algorithm in kinds]
    gone = [replace(key, state=KeyState.RETIRED, active_from=None) for key in before]
    for key in (*risen, *gone):  # the file of one that retired by itself does not say so yet
        write_key(directory, key, replacing=True)
    return risen, [key for key, old in zip(gone, before, strict=True) if old.state != key.state]


async def differences(keys: Iterable[Key], lookup: Lookup) -> list[tuple[Key, str]]:
    """Compare keys that sign, or will, with DNS; return each with what is wrong, "" if nothing."""
    return [
        (key, await _difference(key, lookup)) for key in keys if key.state is not KeyState.RETIRED
    ]


async def _difference(key: Key, lookup: Lookup) -> str:
    try:
        answer = await lookup(key.record_name, "TXT")
    except NoSuchName:
        return "there is no such record"
    except DnsTemporary as error:
        raise Failure(Exit.TEMPORARY, f"DNS does not answer: {error}") from error
    found = [tags(text) for text in map(joined, answer.texts)]
    wanted = tags(key.record)
    if not found:
        return "there is no such record"
    if len(found) > 1:
        return "there are several records; which of them is used is undefined"
    public = found[0].get("p", "")
    if not public:
        return "the record has no key: it has been revoked"
    if public != wanted["p"] or found[0].get("k", "rsa") != wanted["k"]:
        return "the record has another key"
    return ""


def joined(text: str) -> str:
    """Return a TXT record in presentation format as one text (RFC 6376 §3.6.2.2)."""
    return "".join(text.split('"')[1::2]) if '"' in text else text


def tags(record: str) -> dict[str, str]:
    """Return the tags of a key record, without white space (RFC 6376 §3.2)."""
    pairs = (part.partition("=") for part in record.replace("\\;", ";").split(";"))
    return {name.strip(): "".join(value.split()) for name, _, value in pairs if name.strip()}


def zone_lines(key: Key) -> list[str]:
    """Return the record as a zone file has it, in strings that fit (RFC 1035 §3.3)."""
    quoted = " ".join(f'"{part}"' for part in strings(key.record))
    line = f"{key.record_name}. IN TXT ( {quoted} )"
    if key.state is KeyState.RETIRED:
        return ["; retired: take it out when mail signed with it has arrived, in a week", line]
    return [f"; {key.state}", line]


def _selectors(
    there: Sequence[Key], wanted: str | None, algorithms: Sequence[Algorithm], at_ms: int
) -> list[str]:
    """Return a selector for each algorithm; of several keys each says its algorithm."""
    base = wanted or _moment(at_ms).strftime("%Y%m%d")
    one = wanted is not None and len(algorithms) == 1
    names = [base if one else f"{base}-{algorithm.key_type}" for algorithm in algorithms]
    taken = {key.selector.lower() for key in there}
    if wanted is None:
        names = [_free(name, taken) for name in names]
    for name in names:
        if not is_name(name):
            raise Failure(Exit.USAGE, f"{name!r} cannot be a selector: letters, digits, hyphens")
        if name.lower() in taken:
            raise Failure(
                Exit.CANNOT_CREATE,
                f"there is a key with the selector {name} already: a selector is never used twice",
            )
    return names


def _free(name: str, taken: set[str]) -> str:
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name}-{number}"
    return free


def _private(algorithm: Algorithm) -> PrivateKey:
    if algorithm is Algorithm.RSA:
        return rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS)
    return ed25519.Ed25519PrivateKey.generate()


def _written(directory: Path, keys: list[Key]) -> list[Key]:
    for key in keys:
        path = path_of(directory, key)
        try:
            write_key(directory, key)
        except FileExistsError as error:
            raise Failure(Exit.CANNOT_CREATE, f"{path}: is already there") from error
    return keys


def _moment(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms // 1000, UTC)
