"""The annotated sample, ``etc/mta.toml``, made of the descriptions in the settings.

``# `` begins prose and ``#key`` a setting with its default: take the ``#`` away to change it.
A test holds the committed file against this; ``python -m mta.config.sample`` prints it.
"""

import re
import sys
from collections.abc import Iterator
from datetime import timedelta
from textwrap import wrap
from typing import Any

from pydantic.fields import FieldInfo

from mta.config.section import Section
from mta.config.settings import DEFAULT_LISTENERS, Settings
from mta.config.toml import write_pair
from mta.config.units import format_duration

_WIDTH = 88

_HEAD = """\
# Configuration of the mail relay.
#
# "# words" explain; "#key = value" is a default, unless it says that it is an example:
# take the # away to change a setting.
# Durations: "90s", "5m", "1h30m", "4d".  Sizes: "50MiB", "10MB", "1024" (octets).
# Relative paths begin at the directory of this file.  "mta config check" finds mistakes,
# "mta config show" shows what is in force; SIGHUP makes a running service read it again.
"""

_EXAMPLES: dict[str, tuple[dict[str, Any], ...]] = {
    "listener": (
        *DEFAULT_LISTENERS,
        {
            "name": "inside",
            "endpoint": "127.0.0.1:25",
            "tls": "none",
            "auth": "none",
            "trusted_networks": ["127.0.0.0/8"],
        },
    ),
    "sender": (
        {"name": "newsletter", "logins": ["news"], "addresses": ["news.example.org"]},
        {"name": "people", "addresses": ["{user}@example.org"], "plus": True},
    ),
    "limit": (
        {"name": "logins", "per": "login", "recipients_per_day": 5000, "action": "hold"},
        {"name": "clients", "per": "client", "connections_per_hour": 2000, "sessions": 50},
    ),
    "shaping": (
        {
            "name": "partner",
            "domains": ["example.net"],
            "connections": 2,
            "messages_per_minute": 30,
        },
        {"name": "big", "mx": [".mx.example.com"], "connections": 50, "idle": "30s"},
    ),
    "milter": (
        {"name": "rspamd", "endpoint": "inet:127.0.0.1:11332", "when_away": "hold"},
        {"name": "opendkim", "endpoint": "unix:/run/opendkim/opendkim.sock", "mail": "submission"},
    ),
    "hold": ({"name": "huge", "min_size": "25MiB", "recipient_domains": ["example.com"]},),
    "dnsbl": (
        {"zone": "zen.dnsbl.example", "codes": ["127.0.0.2-127.0.0.11"]},
        {"zone": "strict.dnsbl.example", "action": "record"},
    ),
    "domain": (
        {"name": "example.org", "recipients": ["ann", "bob"], "aliases": {"staff": ["ann", "bob"]}},
        {"name": "example.com", "catch_all": ["ann@example.org"]},
    ),
    "rewrite": (
        {
            "name": "hosts",
            "recipients": False,
            "mail": "all",
            "addresses": {".internal.example.org": "@example.org"},
        },
    ),
    "route": (
        {"name": "test-domains", "recipient_domains": ["*.test"], "discard": True},
        {
            "name": "closed",
            "recipient_domains": ["old.example.org"],
            "error": {"code": 550, "enhanced": "5.1.6", "text": "This domain has moved"},
        },
        {
            "name": "partner",
            "recipient_domains": ["example.net"],
            "mx": {"port": 25, "tls": "verify"},
        },
        {
            "name": "provider",
            "sender_domains": ["news.example.org", "<>"],
            "smarthost": {
                "host": "smtp.example.com",
                "port": 465,
                "tls": "implicit",
                "login": "example-org",
                "password_credential": "provider-password",
            },
        },
    ),
}

_REQUIRED = {"certificate": ({"certificate": "certificate.pem", "key": "key.pem"},)}


def sample() -> str:
    """Return the sample configuration."""
    return re.sub("\n{3,}", "\n\n", "\n".join(_lines())).rstrip("\n") + "\n"


def _lines() -> Iterator[str]:
    yield _HEAD
    tables = []
    for name, field in Settings.model_fields.items():
        section = _section(field.annotation)
        if section is None:
            yield from _setting(Settings, name, field)
            yield ""
        else:
            tables.append((name, section, field.annotation == section))
    for name, section, single in tables:
        yield from (_table if single else _tables)(name, section)


def _table(path: str, section: type[Section]) -> Iterator[str]:
    """Yield a table with all its settings."""
    yield ""
    yield from _prose(section.__doc__ or "")
    inner = {name: _section(field.annotation) for name, field in section.model_fields.items()}
    if None in inner.values():
        yield f"[{path}]"
    for name, field in section.model_fields.items():
        if inner[name] is None:
            yield ""
            yield from _setting(section, name, field)
    for name, subsection in inner.items():
        if subsection is not None:
            yield from _table(f"{path}.{name}", subsection)
    yield ""


def _tables(name: str, section: type[Section]) -> Iterator[str]:
    """Yield a list of tables: what each key means, then examples."""
    yield ""
    yield from _prose(section.__doc__ or "")
    yield "#"
    yield from _keys(section, 0)
    for mark, examples in (("", _REQUIRED.get(name, ())), ("#", _EXAMPLES.get(name, ()))):
        for example in examples:
            yield ""
            yield f"{mark}[[{name}]]"
            yield from (f"{mark}{write_pair(key, value)}" for key, value in example.items())
    yield ""


def _keys(section: type[Section], depth: int) -> Iterator[str]:
    """Yield a paragraph for each key of ``section`` and of the tables inside it."""
    for name, field in section.model_fields.items():
        yield from _prose(f"{name}: {field.description}{_default(field)}", depth, hanging=True)
        inner = _section(field.annotation)
        if inner is not None:
            yield from _keys(inner, depth + 1)


def _setting(section: type[Section], name: str, field: FieldInfo) -> Iterator[str]:
    """Yield a setting: its description, then a line that sets it to its default or an example."""
    yield from _prose(field.description or "")
    if field.is_required():
        yield write_pair(name, field.examples[0] if field.examples else "")
    elif field.examples:
        yield f"#{write_pair(name, field.examples[0])}  # an example"
    else:
        defaults = section.model_construct().model_dump(mode="json", include={name})
        yield f"#{write_pair(name, defaults[name])}"


def _default(field: FieldInfo) -> str:
    default = field.get_default(call_default_factory=True)
    if field.is_required() or default in (None, (), "", {}):
        return ""
    shown = format_duration(default) if isinstance(default, timedelta) else default
    return f"  Default: {shown}."


def _section(annotation: Any) -> type[Section] | None:
    """Return the table that an annotation stands for: itself, optional, or in a list."""
    for candidate in (annotation, *getattr(annotation, "__args__", ())):
        if isinstance(candidate, type) and issubclass(candidate, Section):
            return candidate
    return None


def _prose(text: str, depth: int = 0, hanging: bool = False) -> list[str]:
    indent = "# " + "  " * depth
    further = indent + "    " * hanging
    return wrap(
        " ".join(text.split()),
        _WIDTH,
        initial_indent=indent,
        subsequent_indent=further,
        break_long_words=False,
        break_on_hyphens=False,
    )


if __name__ == "__main__":
    sys.stdout.write(sample())
