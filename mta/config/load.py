"""Read the configuration file."""

from collections.abc import Mapping
from pathlib import Path

from mta.config.settings import Settings
from mta.config.toml_file import checked, read_toml


def load(path: Path, environ: Mapping[str, str]) -> Settings:
    """Return the settings in the file at ``path``; ``ConfigError`` with all that is wrong.

    ``environ`` is asked for ``$CREDENTIALS_DIRECTORY`` only.  The password of the database is
    read here; those of smarthosts, and certificates, are read by who uses them (``build``),
    so that the command line needs no right to them.
    """
    settings = checked(Settings, read_toml(path), path, environ)
    settings._file = path
    return settings
