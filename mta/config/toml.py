"""Write settings as TOML.  The standard library reads it only."""

import json
import re
from collections.abc import Mapping
from typing import Any

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+\Z")


def write_value(value: Any) -> str:
    """Return one value: a scalar, a list, or an inline table."""
    if isinstance(value, Mapping):
        inside = ", ".join(write_pair(key, item) for key, item in value.items())
        return f"{{ {inside} }}" if inside else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(write_value, value))}]"
    if isinstance(value, str):
        # JSON's escapes are TOML's, but for DEL, which TOML wants escaped
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return json.dumps(value)


def write_pair(key: str, value: Any) -> str:
    """Return ``key = value``."""
    shown = key if _BARE_KEY.match(key) else json.dumps(key)
    return f"{shown} = {write_value(value)}"


def write_document(data: Mapping[str, Any], prefix: str = "") -> str:
    """Return a document: scalars first, then a table for each mapping and each in a list.

    Within an element of a list, mappings are written inline.
    """
    lines = [write_pair(key, value) for key, value in data.items() if not _is_table(value)]
    blocks = ["\n".join(lines) + "\n"] if lines else []
    for key, value in data.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping):
            inside = write_document(value, f"{path}.")
            has_own = any(not _is_table(item) for item in value.values()) or not value
            blocks.append(f"[{path}]\n{inside}" if has_own else inside)
        elif _is_table(value):
            blocks += [
                "\n".join([f"[[{path}]]", *(write_pair(*pair) for pair in one.items())]) + "\n"
                for one in value
            ]
    return "\n".join(blocks)


def _is_table(value: Any) -> bool:
    listed = isinstance(value, list | tuple) and value and isinstance(value[0], Mapping)
    return bool(listed) or isinstance(value, Mapping)
