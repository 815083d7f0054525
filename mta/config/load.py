"""Read the configuration file: TOML, checked as a whole."""

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mta.config.problems import ConfigError, Problem
from mta.config.settings import Settings

_PLACE = re.compile(r"(.*) \(at line (\d+), column (\d+)\)\Z", re.S)
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+\Z")


def load(path: Path, environ: Mapping[str, str]) -> Settings:
    """Return the settings in the file at ``path``; ``ConfigError`` with all that is wrong.

    ``environ`` is asked for ``$CREDENTIALS_DIRECTORY`` only.  The password of the database is
    read here; those of smarthosts, and certificates, are read by who uses them (``build``),
    so that the command line needs no right to them.
    """
    data = _read(path)
    context = {"directory": path.absolute().parent, "environ": environ}
    try:
        settings = Settings.model_validate(data, context=context)
    except ValidationError as error:
        raise ConfigError(
            [
                Problem(path, key_path(detail["loc"], data), detail["msg"])
                for detail in error.errors(include_url=False, include_input=False)
            ]
        ) from None
    settings._file = path
    return settings


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8"))
    except OSError as error:
        raise ConfigError([Problem(path, "", f"cannot be read: {error.strerror}")]) from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigError([Problem(path, f":{line}", "is not UTF-8")]) from None
    except tomllib.TOMLDecodeError as error:
        match = _PLACE.match(str(error))
        where, text = (f":{match[2]}:{match[3]}", match[1]) if match else ("", str(error))
        raise ConfigError([Problem(path, where, f"{text} (TOML syntax)")]) from None


def key_path(loc: Sequence[int | str], data: Any) -> str:
    """Return the path of a key as people write it; a table with a name is shown by its name."""
    shown = ""
    for step in loc:
        if isinstance(step, int) and isinstance(data, dict):
            continue  # one table where a list of them may be
        inside = _inside(data, step)
        if isinstance(step, int):
            name = inside.get("name") if isinstance(inside, dict) else None
            shown += f'["{name}"]' if isinstance(name, str) and name else f"[{step}]"
        else:
            key = step if _BARE_KEY.match(step) else f'"{step}"'
            shown += f".{key}" if shown else key
        data = inside
    return shown


def _inside(data: Any, step: int | str) -> Any:
    try:
        return data[step]
    except (KeyError, IndexError, TypeError):
        return None
