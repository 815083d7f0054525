"""The tables of the filters that are asked by the milter protocol (``docs/milter.rst``)."""

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from mta.config.fields import setting
from mta.config.section import Section
from mta.config.units import parse_duration as _d
from mta.config.values import Duration, Name, Size

_INET = re.compile(r"(inet6?):(\d{1,5})(?:@(.+))?\Z")  # as libmilter writes it
_HOST_FIRST = re.compile(r"(inet6?):(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})\Z")  # as Postfix does
_PATH = re.compile(r"(?:unix|local):(/.*)\Z")
_EXAMPLE = '"inet:127.0.0.1:8891" or "unix:/run/opendkim/opendkim.sock"'


def client_endpoint(value: object) -> str:
    """Return the endpoint string for a filter's place; ``ValueError`` says what is wrong."""
    if not isinstance(value, str):
        raise ValueError(f"must be a place in quotes, such as {_EXAMPLE}")
    if (found := _PATH.match(value)) is not None:
        return "unix:" + _quoted(found[1])
    if (found := _INET.match(value)) is not None:
        host = found[3] or ("::1" if found[1] == "inet6" else "127.0.0.1")
        return _tcp(value, host.strip("[]"), int(found[2]))
    if (found := _HOST_FIRST.match(value)) is not None:
        return _tcp(value, found[2] or found[3], int(found[4]))
    _check(value)
    return value


def _tcp(value: str, host: str, port: int) -> str:
    if not 0 < port < 65536:
        raise ValueError(f'"{value}": a port lies between 1 and 65535')
    return f"tcp:{_quoted(host)}:{port}"


def _quoted(text: str) -> str:
    return text.replace("\\", r"\\").replace(":", r"\:").replace("=", r"\=")


_NO_REACTOR: Any = None


def _check(value: str) -> None:
    # Slow to import, and the command line reads the configuration at every run.
    from twisted.internet.endpoints import clientFromString  # noqa: PLC0415

    try:
        clientFromString(_NO_REACTOR, value)
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise ValueError(f'"{value}" is no place ({error}): write {_EXAMPLE}') from None


class Milter(Section):
    """A filter that is asked about mail by the milter protocol.

    Several are asked in the order in which they stand here; each sees what those before it have
    changed.
    """

    name: Name = Field(description="What the log and the trace call it.", examples=["rspamd"])
    endpoint: Annotated[str, BeforeValidator(client_endpoint)] = Field(
        description='Where it listens: "inet:127.0.0.1:11332", "inet:8891@127.0.0.1",'
        ' "unix:/run/opendkim/opendkim.sock", or an endpoint string such as "tls:host:port".',
        examples=["inet:127.0.0.1:11332"],
    )
    listeners: tuple[Name, ...] = Field((), description="Only mail of these.  None: of all.")
    mail: Literal["all", "submission", "relay"] = Field(
        "all",
        description="Which mail it sees: all; new mail, of who has logged in or at a listener for"
        " submission; or all other.",
    )
    when_away: Literal["tempfail", "accept", "hold"] = Field(
        "tempfail",
        description="What becomes of mail that it could not look at: refused for now; let"
        " through; or accepted and held until an operator releases it.",
    )
    connect_timeout: Duration = setting("Until it is connected and has agreed.", _d("10s"))
    command_timeout: Duration = setting("For its answer to a command.", _d("30s"))
    content_timeout: Duration = setting("For its answer to a part of the message.", _d("1m"))
    end_timeout: Duration = setting(
        "For each sign of life of it when the message is complete; 10m are the end for all filters"
        " together.",
        _d("5m"),
    )
    max_body: Size | None = Field(
        None,
        description="Mail with a larger body passes without it, and the trace says so.",
        examples=["20MiB"],
    )
