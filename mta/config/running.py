"""The settings of a running service as a text that is kept in the spool, and read again.

Secrets are not in the settings (``secret``): of a password there is the file that has it.  The
sections on the spool and on tokens are left out altogether.
"""

import json
from pathlib import Path

from pydantic import ValidationError

from mta.config.problems import ConfigError, Problem
from mta.config.settings import Settings
from mta.config.show import effective

_LEFT_OUT = ("spool", "oauth")


def as_text(settings: Settings) -> str:
    """Return the settings; ``from_text`` reads them."""
    shown = {k: v for k, v in effective(settings, changed_only=True).items() if k not in _LEFT_OUT}
    file = str(settings.file.absolute())
    return json.dumps({"file": file, "settings": shown}, separators=(",", ":"))


def from_text(text: str, credentials: str = "") -> Settings:
    """Return the settings; ``ConfigError`` if this program does not understand them.

    ``credentials`` is systemd's directory of them, where somebody has it.
    """
    told = json.loads(text)
    file = Path(told["file"])
    environ = {"CREDENTIALS_DIRECTORY": credentials} if credentials else {}
    context = {"directory": file.parent, "environ": environ}
    try:
        settings = Settings.model_validate(told["settings"], context=context)
    except ValidationError as error:
        words = error.errors(include_url=False, include_input=False)[0]["msg"]
        told_by = "what the running service works by cannot be read by this program"
        raise ConfigError([Problem(file, "", f"{told_by}: {words}")]) from None
    settings._file = file
    return settings
