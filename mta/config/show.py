"""Show the settings in force, as TOML or as a dictionary for JSON, and their JSON Schema.

Secrets are not in the settings (``secret``); a password in the spool's URL is blotted out.
"""

from typing import Any

from mta.config.settings import Settings
from mta.config.toml import write_document


def effective(settings: Settings, changed_only: bool = False) -> dict[str, Any]:
    """Return the settings as the file has them: units as text, tables as dictionaries.

    ``changed_only``: what the file sets, without the defaults (as ``postconf -n`` does).
    """
    dumped = settings.model_dump(mode="json", exclude_unset=changed_only)
    shown: dict[str, Any] = _without_nothing(dumped)
    return shown


def show(settings: Settings, changed_only: bool = False) -> str:
    """Return the settings as a TOML document that ``load`` reads back."""
    return write_document(effective(settings, changed_only))


def schema() -> dict[str, Any]:
    """Return the JSON Schema of the file, for editors (``#:schema`` of taplo)."""
    return Settings.model_json_schema(mode="validation")


def _without_nothing(value: Any) -> Any:
    """Return ``value`` without what is not set, which TOML cannot write, and empty tables."""
    if isinstance(value, dict):
        shown = {key: _without_nothing(item) for key, item in value.items() if item is not None}
        return {key: item for key, item in shown.items() if item != {}}
    if isinstance(value, list):
        return [_without_nothing(item) for item in value]
    return value
