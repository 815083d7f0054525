"""The TXT record that says that a domain has a policy, and which one (RFC 8461 §3.1)."""

import re
from collections.abc import Iterable

_VERSION = re.compile(rb"v=STSv1[ \t]*;")
_ID = re.compile(r"id=([A-Za-z0-9]{1,32})")
_EXTENSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}=[\x21-\x3a\x3c\x3e-\x7e]+")
_LONGEST = 4096  # octets looked at: two fields of a few dozen are what there should be


class RecordInvalid(Exception):
    """There is no usable record; one line."""


def policy_id(records: Iterable[bytes]) -> str | None:
    """Return the ``id`` of the one record that is about MTA-STS; None: there is no such record.

    Raises ``RecordInvalid`` for several, and for one that is no good: there is no policy then.
    """
    found = [record for record in records if _VERSION.match(record)]
    if not found:
        return None
    if len(found) > 1:
        raise RecordInvalid("more than one TXT record begins with v=STSv1")
    return _id(found[0])


def _id(record: bytes) -> str:
    if len(record) > _LONGEST or not record.isascii():
        raise RecordInvalid("the TXT record is too long, or not ASCII")
    fields = [field.strip(" \t") for field in record.decode("ascii").split(";")[1:]]
    if fields[-1] == "":
        fields.pop()
    first: str | None = None
    for field in fields:
        ours = _ID.fullmatch(field)
        if ours is None and (field.startswith("id=") or not _EXTENSION.fullmatch(field)):
            raise RecordInvalid(f"the TXT record cannot be read at {field[:40]!a}")
        if ours is not None and first is None:
            first = ours[1]
    if first is None:
        raise RecordInvalid("the TXT record has no id")
    return first
