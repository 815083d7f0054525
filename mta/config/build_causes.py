"""Turn the files of causes into what ``mta.causes`` takes."""

import tomllib
from functools import cache
from importlib.resources import files
from pathlib import Path

from pydantic import ValidationError

from mta.causes.pattern import Pattern
from mta.causes.rules import Action, Rule, Rules
from mta.config.causes_sections import CauseRule, CausesFile
from mta.config.load import key_path
from mta.config.problems import ConfigError, Problem
from mta.config.settings import Settings
from mta.mail.cause import Cause

SHIPPED = Path(str(files("mta.causes"))) / "shipped.toml"


def causes(settings: Settings) -> Rules:
    """Return all rules; ``ConfigError`` if the operator's file cannot be used."""
    if not isinstance(settings.causes_file, Path):
        return Rules(shipped())
    own = _read(settings.causes_file)
    rules = tuple(map(_rule, own.rule))
    return Rules(rules + shipped() if own.shipped else rules)


@cache
def shipped() -> tuple[Rule, ...]:
    """Return the rules that come with the program."""
    return tuple(map(_rule, _read(SHIPPED).rule))


def _read(path: Path) -> CausesFile:
    try:
        data = tomllib.loads(path.read_text("utf-8"))
        return CausesFile.model_validate(data, context={"directory": path.parent, "environ": {}})
    except OSError as error:
        raise ConfigError([Problem(path, "", f"cannot be read: {error.strerror}")]) from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError([Problem(path, "", f"{error} (TOML syntax)")]) from None
    except ValidationError as error:
        raise ConfigError(
            [
                Problem(path, key_path(detail["loc"], data), detail["msg"])
                for detail in error.errors(include_url=False, include_input=False)
            ]
        ) from None


def _rule(one: CauseRule) -> Rule:
    action = None
    if one.action is not None:
        for_s, window_s = one.for_.total_seconds(), one.window.total_seconds()
        action = Action(one.action, for_s, one.samples, window_s)
    return Rule(
        name=one.name,
        cause=Cause(one.cause),
        text=tuple(map(Pattern, one.text)),
        codes=one.codes,
        status=one.status,
        stages=one.stages,
        hosts=one.hosts,
        action=action,
    )
