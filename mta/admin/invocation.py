"""What one run of the command line knows: configuration, spool, clock, who is asking.

Commands get it with ``@pass_invocation``.  Nothing is opened before it is needed, so
that ``mta init`` and ``mta config sample`` work where there is nothing yet.  The spool
is opened directly and synchronously: whether the service is running plays no part.

It trusts the operating system for the operator's name: an audit row says what
``getpass`` and ``$SUDO_USER`` say, it proves nothing.
"""

import getpass
import os
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import tzinfo
from functools import cached_property
from pathlib import Path
from typing import Any

import click

from mta import config
from mta.admin.exits import Exit, Failure
from mta.spool import engine

SEARCHED = (Path("mta.toml"), Path("/etc/mta/mta.toml"))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _interactive() -> bool:
    return sys.stdin.isatty()


def _who() -> str:
    """Name the operator: the person behind ``sudo`` before ``root``."""
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):  # no such user id, as in a container
        return f"uid {os.getuid()}"


@dataclass
class Invocation:
    """One run.  All that comes from the outside is a field, so that tests can set it."""

    config_file: Path | None = None  # what --config or MTA_CONFIG said
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    now_ms: Callable[[], int] = _now_ms
    interactive: Callable[[], bool] = _interactive  # can we ask?
    who: Callable[[], str] = _who
    zone: tzinfo | None = None  # None: the local one
    pause: Callable[[float], None] = time.sleep  # seconds

    @cached_property
    def path(self) -> Path:
        """The configuration file in use; ``Failure`` (CONFIG) if there is none."""
        if self.config_file is not None:
            return self.config_file
        for candidate in SEARCHED:
            if candidate.exists():
                return candidate
        tried = " and ".join(str(path) for path in SEARCHED)
        raise Failure(
            Exit.CONFIG,
            f"no configuration: tried {tried}; name one with --config or MTA_CONFIG, "
            "or make one with 'mta init'",
        )

    @cached_property
    def settings(self) -> config.Settings:
        """The settings; ``ConfigError`` with all that is wrong."""
        return config.load(self.path, self.environ)

    def create_spool(self) -> None:
        """Make a new SQLite spool if there is none, as the service does at its first start."""
        engine.prepare(self.settings.spool.url)

    @cached_property
    def _engine(self) -> Any:
        url = self.settings.spool.url
        self._refuse_to_create(url)
        engine.prepare(url)
        return engine.create_engine(url)

    def _refuse_to_create(self, url: str) -> None:
        """See to it that looking at a queue never makes one, in root's name and empty."""
        parsed = engine.parse(url)
        if parsed.get_backend_name() != "sqlite":
            return
        path = engine.sqlite_path(parsed)
        if not path.exists() and path.parent.is_dir() and os.access(path.parent, os.X_OK):
            raise Failure(
                Exit.UNAVAILABLE,
                f"spool {path}: the file does not exist; the service makes it at its first start,"
                " 'mta db upgrade' by hand",
            )

    @property
    def spool(self) -> str:
        """The spool's URL, without its password."""
        return engine.shown(engine.parse(self.settings.spool.url))

    @property
    def one_writer(self) -> bool:
        """Whether the spool lets one in at a time to write (SQLite)."""
        return engine.parse(self.settings.spool.url).get_backend_name() == "sqlite"

    def reading(self) -> AbstractContextManager[Any]:
        """Open the spool for reading."""
        return engine.reading(self._engine)

    def writing(self) -> AbstractContextManager[Any]:
        """Open one transaction that changes the spool."""
        return engine.writing(self._engine)

    def close(self) -> None:
        """Give back the spool's connections, if it was opened."""
        if "_engine" in self.__dict__:
            self._engine.dispose()


pass_invocation = click.make_pass_decorator(Invocation)
