"""Read a TOML file, and check it as a whole: the configuration, and the files of rules it names.

Every fault says where it is as people write it: file and line, or the path of the key.
"""

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from mta.config.problems import ConfigError, Problem
from mta.config.section import Section

_PLACE = re.compile(r"(.*) \(at line (\d+), column (\d+)\)\Z", re.S)
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+\Z")

SomeSection = TypeVar("SomeSection", bound=Section)


def read_toml(path: Path, named_by: str = "") -> dict[str, Any]:
    """Return what stands in a file; ``named_by`` is the setting that names it, for the error."""
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8"))
    except OSError as error:
        blame = f" ({named_by} names it)" if named_by else ""
        raise ConfigError([Problem(path, "", f"cannot be read: {error.strerror}{blame}")]) from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigError([Problem(path, f":{line}", "is not UTF-8")]) from None
    except tomllib.TOMLDecodeError as error:
        match = _PLACE.match(str(error))
        where, text = (f":{match[2]}:{match[3]}", match[1]) if match else ("", str(error))
        raise ConfigError([Problem(path, where, f"{text} (TOML syntax)")]) from None


def checked(
    kind: type[SomeSection],
    data: Mapping[str, Any],
    path: Path,
    environ: Mapping[str, str] | None = None,
) -> SomeSection:
    """Return the tables in ``data``, read from ``path``; ``ConfigError`` with all that is wrong."""
    context = {"directory": path.absolute().parent, "environ": environ or {}}
    try:
        return kind.model_validate(data, context=context)
    except ValidationError as error:
        raise ConfigError(
            [
                Problem(path, key_path(detail["loc"], data), detail["msg"])
                for detail in error.errors(include_url=False, include_input=False)
            ]
        ) from None


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
