"""The URL of the spool: checked, made absolute, and shown without its password.

It is taken apart by hand, as SQLAlchemy is the spool's own; whether the database can be
reached is not asked here.
"""

import re
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

from pydantic import PlainSerializer, PlainValidator, ValidationInfo, WithJsonSchema

from mta.config.problems import did_you_mean
from mta.spool.url import with_hosts

_DRIVERS = ("sqlite", "sqlite+pysqlite", "postgresql", "postgresql+psycopg")
_URL = re.compile(
    r"(?P<driver>[a-z0-9+]+)://(?:(?P<user>[^:/]*)(?::(?P<password>[^@]*))?@)?(?P<rest>.*)\Z", re.S
)


def check_url(value: object, info: ValidationInfo) -> str:
    """Return the URL with an absolute path; ``ValueError`` never quotes it, for its password."""
    if not isinstance(value, str):
        raise ValueError('must be a text in quotes, such as "sqlite:///mta.sqlite"')
    match = _URL.match(value)
    if match is None:
        raise ValueError('must be "sqlite:///FILE" or "postgresql://USER@HOST/DATABASE"')
    driver = match["driver"]
    if driver not in _DRIVERS:
        guess = did_you_mean(driver, ("sqlite", "postgresql"))
        raise ValueError(f'"{driver}:" is not supported: the spool is SQLite or PostgreSQL{guess}')
    if not driver.startswith("sqlite"):
        with_hosts(value)
        return value
    path, question, options = match["rest"].removeprefix("/").partition("?")
    if match["user"] is not None or not match["rest"].startswith("/"):
        raise ValueError("SQLite takes no host: write three slashes, sqlite:///FILE")
    if path in {"", ":memory:"} or path.startswith("file:"):
        raise ValueError("must name a file: mail in memory would be lost")
    directory = Path(info.context["directory"]) if info.context else Path()
    return f"{driver}:///{directory / path}{question}{options}"


def with_password(url: str, password: str) -> str:
    """Return ``url`` with ``password`` in it, instead of the one that it may have."""
    match = _URL.match(url)
    assert match is not None  # check_url has seen it
    return f"{match['driver']}://{match['user'] or ''}:{quote(password, safe='')}@{match['rest']}"


def redacted(url: str) -> str:
    """Return ``url`` as it may be shown."""
    match = _URL.match(url)
    if match is None:
        return "***"
    rest = re.sub(r"(?<=password=)[^&]*", "***", match["rest"])
    user = match["user"]
    who = "" if user is None else f"{user}{':***' if match['password'] else ''}@"
    return f"{match['driver']}://{who}{rest}"


Url = Annotated[
    str,
    PlainValidator(check_url),
    PlainSerializer(redacted, return_type=str),
    WithJsonSchema({"type": "string"}),
]
