"""Turn the files of causes into what ``mta.causes`` takes."""

from functools import cache
from importlib.resources import files
from pathlib import Path

from mta.causes.pattern import Pattern
from mta.causes.rules import Action, Rule, Rules
from mta.config.causes_sections import CauseRule, CausesFile
from mta.config.settings import Settings
from mta.config.toml_file import checked, read_toml
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
    return checked(CausesFile, read_toml(path, "causes_file"), path)


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
