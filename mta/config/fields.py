"""What the tables of the configuration are written with: fields, and secrets in two forms."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from pydantic import Field

from mta.config.section import Conflict, Section


def setting(description: str, default: timedelta | int | float | str, **bounds: Any) -> Any:
    """Return a field with a default; a duration or a size may be given as it is written."""
    return Field(default, description=description, **bounds)


def table() -> Any:
    """Return a field that is a table of defaults where the file does not have it."""
    return Field(default_factory=dict)


def set_one(section: Section, stem: str) -> str:
    """Return the key among STEM_file and STEM_credential that is set."""
    return f"{stem}_file" if getattr(section, f"{stem}_file") is not None else f"{stem}_credential"


def one_secret(section: Section, stem: str) -> Iterator[Conflict]:
    """Yield a conflict where one secret has two places."""
    file, credential = f"{stem}_file", f"{stem}_credential"
    if getattr(section, file) is not None and getattr(section, credential) is not None:
        yield Conflict((credential,), f"and {file} exclude each other", (file,))
