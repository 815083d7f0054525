"""What is shown of the settings, the sample file, and the schema."""

import json
import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mta.config import Settings, load, show
from mta.config.sample import sample
from mta.config.section import Section
from mta.config.toml import write_document

COMMITTED = Path(__file__).parents[2] / "etc" / "mta.toml"

RICH = """
[[listener]]
name = "inside"
endpoint = "[::1]:25"
tls = "none"
auth = "none"
trusted_networks = ["::1"]
[[route]]
name = "r"
sender_domains = ["<>", "*.example.net"]
smarthost = { host = "smtp.example.com", login = "u", password_file = "p" }
[retry]
steps = ["90s", "1h30m"]
delay_warning = "never"
[timeouts.outbound]
mail = "10m"
[dns]
servers = ["[::1]:5353"]
[limits]
message_size = "10MB"
"""


def test_shown_settings_load_as_the_same(configured: Callable[..., Settings], tmp_path: Path):
    """What is shown is a configuration with the same meaning."""
    settings = configured(RICH)
    again = tmp_path / "again.toml"
    for changed_only in (False, True):
        again.write_text(show.show(settings, changed_only), "utf-8")
        assert show.effective(load(again, {})) == show.effective(settings)


def test_changed_only_is_what_the_file_sets(configured: Callable[..., Settings], tmp_path: Path):
    """Without the defaults, in the units of the file."""
    shown = show.effective(configured(RICH), changed_only=True)

    assert shown == {
        "host_name": "relay.example.org",
        "certificate": [{"certificate": f"{tmp_path}/c.pem", "key": f"{tmp_path}/k.pem"}],
        "listener": [
            {
                "name": "inside",
                "endpoint": r"tcp6:25:interface=\:\:1",
                "tls": "none",
                "auth": "none",
                "trusted_networks": ["::1/128"],
            }
        ],
        "route": [
            {
                "name": "r",
                "sender_domains": ["<>", ".example.net"],
                "smarthost": [{"host": "smtp.example.com", "login": "u", "password_file": "p"}],
            }
        ],
        "retry": {"steps": ["1m30s", "1h30m"], "delay_warning": "never"},
        "timeouts": {"outbound": {"mail": "10m"}},
        "dns": {"servers": ["[::1]:5353"]},
        "limits": {"message_size": "10MB"},
    }
    assert json.loads(json.dumps(shown)) == shown


def test_toml_writing():
    """Strings with all that needs escaping, nested tables, and inline tables read back."""
    data = {
        "text": 'quo"te \\ \x00\x1f\x7f \u00fc \u2028 line\n',
        "odd key": 1,
        "list": [1, "a", [True, 0.5]],
        "empty": [],
        "table": {"a": 1, "inner": {"b": 2}, "hollow": {}},
        "outer": {"inner": {"c": 3}},
        "many": [{"x": {"y": [1]}, "z": {}}, {"x": {}}],
    }
    assert tomllib.loads(write_document(data)) == data


def test_the_committed_sample_is_the_generated_one():
    """``python -m mta.config.sample > etc/mta.toml`` has been run after the last change."""
    assert COMMITTED.read_text("utf-8") == sample()


def test_the_sample_loads_and_is_the_default(configured: Callable[..., Settings]):
    """As it stands, the sample changes nothing but what it must name."""
    settings = load(COMMITTED, {})

    assert set(show.effective(settings, changed_only=True)) == {"host_name", "certificate"}
    assert settings.retry == configured().retry
    assert "Undefined" not in COMMITTED.read_text()  # no default that only pydantic understands


def test_the_sample_loads_with_everything_switched_on(tmp_path: Path):
    """Every line that begins with "#key" is a setting that is valid when the # goes."""
    text = re.sub(r"(?m)^#(?=[\[a-z])", "", sample())
    text = re.sub(r"(?m)^(password_|secret_cred).*$", "", text)  # SQLite has none; SRS has one
    file = tmp_path / "mta.toml"
    file.write_text(text, "utf-8")
    settings = load(file, {})

    assert len(settings.route) == 4
    assert [one.name for one in settings.listener] == ["submissions", "submission", "inside"]
    assert settings.timeouts == load(COMMITTED, {}).timeouts


def sections(cls: type[Section]) -> Iterator[type[Section]]:
    """Yield ``cls`` and every table inside it."""
    yield cls
    for field in cls.model_fields.values():
        for inner in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(inner, type) and issubclass(inner, Section):
                yield from sections(inner)


def test_every_setting_is_documented_in_the_sample():
    """No key without a sentence, none that the sample leaves out."""
    text = sample()
    tables: Any = {field.annotation for field in Settings.model_fields.values()}
    for section in sections(Settings):
        for name, field in section.model_fields.items():
            if field.annotation in tables or name in {"inbound", "outbound"}:
                continue
            assert field.description, f"{section.__name__}.{name}"
            assert re.search(rf"(?m)^(#|# *|\[\[|#\[\[)?{name}\b", text), (
                f"{section.__name__}.{name}"
            )


def test_schema():
    """Editors get a closed schema with the descriptions."""
    schema = show.schema()

    assert schema["additionalProperties"] is False
    assert schema["required"] == ["host_name"]
    assert schema["$defs"]["Retry"]["properties"]["expiry"]["type"] == "string"
    assert "RFC 5321" in schema["$defs"]["Retry"]["properties"]["expiry"]["description"]
