"""The URL of a PostgreSQL spool: whether it can be read, and several hosts in it.

Pure text, and without SQLAlchemy, so that the configuration can ask as well.  What is wrong with a
URL is never said in its own words: they may be a piece of a password.
"""

import re

UNREADABLE = (
    "cannot be read: write postgresql://USER:PASSWORD@HOST:PORT/DATABASE, and in a password %40 for"
    " each @"
)

_URL = re.compile(
    r"(?P<begin>postgresql[^:]*://)(?:(?P<who>[^@]*)@)?(?P<hosts>[^@/?]*)"
    r"(?P<database>/[^@?]*)?(?:\?(?P<options>.*))?\Z",
    re.S,
)
_HOST = re.compile(r"(?:\[(?P<six>[^][]+)\]|(?P<name>[^][:]+))(?::(?P<port>\d{1,5}))?\Z")
_NAMED_AGAIN = re.compile(r"(?:\A|&)(?:host|port)=")


def with_hosts(url: str) -> str:
    """Return ``url`` with several hosts as options, which SQLAlchemy passes on to libpq.

    ``ValueError`` where it cannot be read.
    """
    found = _URL.match(url)
    if found is None:
        raise ValueError(UNREADABLE)
    if not found["hosts"]:
        return url
    hosts = [_HOST.match(one) for one in found["hosts"].split(",")]
    options = found["options"] or ""
    if not all(hosts) or (len(hosts) > 1 and _NAMED_AGAIN.search(options)):
        raise ValueError(UNREADABLE)
    if len(hosts) == 1:
        return url
    names = ",".join(one["six"] or one["name"] for one in hosts if one)
    ports = ",".join(one["port"] or "" for one in hosts if one)
    who = "" if found["who"] is None else f"{found['who']}@"
    place = f"?host={names}&port={ports}" + (f"&{options}" if options else "")
    return f"{found['begin']}{who}{found['database'] or '/'}{place}"
