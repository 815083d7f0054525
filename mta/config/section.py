"""The base of every table of the configuration: all errors at once, in words for operators.

pydantic reports all errors of types and unknown keys by itself, but runs a model's own checks
(this key against that one) only when there are none.  ``Section`` runs them in any case,
over what is valid: it validates again without the broken keys, and keeps those conflicts none
of whose keys is among the broken ones.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    ModelWrapValidatorHandler,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from mta.config.problems import did_you_mean

Path_ = tuple[int | str, ...]

_QUOTED = re.compile("'([^']*)'")
_WORDED = "worded"  # the type of an error whose message is ours

_WORDS = {
    "missing": "is required",
    "model_type": "must be a table",
    "dict_type": "must be a table",
    "tuple_type": "must be a list, [...]",
    "string_type": 'must be a text in quotes, "..."',
    "bool_type": "must be true or false",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "greater_than_equal": "must be at least {ge}",
    "greater_than": "must be more than {gt}",
    "less_than_equal": "must be at most {le}",
    "less_than": "must be less than {lt}",
    "too_short": "must have at least {min_length} element(s)",
    "string_too_short": "must not be empty",
    "string_too_long": "must not be longer than {max_length} character(s)",
    "string_pattern_mismatch": "must match {pattern}",
    "value_error": "{error}",
}


@dataclass(frozen=True, slots=True)
class Conflict:
    """Something that is wrong between settings that are valid each by itself."""

    path: Path_  # where to show it; its first element must be valid for the conflict to count
    text: str
    needs: tuple[str, ...] = ()  # other keys that must be valid too


class Section(BaseModel):
    """A table: frozen, without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    # where keys stand that were found in a wrong table: key -> "[retry]"; filled by ``settings``
    places: ClassVar[dict[str, str]] = {}

    def conflicts(self) -> Iterator[Conflict]:
        """Yield what is wrong between the keys of this table."""
        return iter(())

    def completed(self, info: ValidationInfo) -> Self:
        """Return the section with what follows from several of its keys."""
        del info
        return self

    @classmethod
    def fault(cls, path: Path_, text: str) -> ValidationError:
        """Return the exception for something that is wrong at ``path`` in this table."""
        return ValidationError.from_exception_data(cls.__name__, [_init(path, text)])

    @model_validator(mode="wrap")
    @classmethod
    def _every_error(
        cls, data: Any, handler: ModelWrapValidatorHandler[Self], info: ValidationInfo
    ) -> Self:
        try:
            section = handler(data).completed(info)
        except ValidationError as error:
            details = error.errors(include_url=False, include_input=True)
            errors = [cls._worded(detail) for detail in details]
            if isinstance(data, Mapping):
                errors += cls._conflicts_beside(data, details, handler)
            raise ValidationError.from_exception_data(cls.__name__, errors) from None
        errors = [_init(conflict.path, conflict.text) for conflict in section.conflicts()]
        if errors:
            raise ValidationError.from_exception_data(cls.__name__, errors)
        return section

    @classmethod
    def _conflicts_beside(
        cls,
        data: Mapping[str, Any],
        details: Sequence[ErrorDetails],
        handler: ModelWrapValidatorHandler[Self],
    ) -> list[InitErrorDetails]:
        """Return the conflicts among what is valid in ``data``."""
        valid, positions, broken = _prune(data, details)
        for name, field in cls.model_fields.items():
            if field.is_required() and name not in valid and field.examples:
                valid[name] = field.examples[0]  # so that one missing key hides no conflict
        try:
            section = handler(valid)
        except ValidationError:
            return []
        return [
            _init(_moved_back(conflict.path, positions), conflict.text)
            for conflict in section.conflicts()
            if broken.isdisjoint((conflict.path[0], *conflict.needs))
        ]

    @classmethod
    def _worded(cls, detail: ErrorDetails) -> InitErrorDetails:
        """Return a pydantic error in our words; one of a table inside has them already."""
        kind, given, loc = detail["type"], detail["input"], detail["loc"]
        context = detail.get("ctx", {})
        if kind == _WORDED:
            return _init(loc, context["text"])
        if kind == "extra_forbidden":
            return _init(loc, cls._unknown(str(loc[-1])))
        if kind == "literal_error":
            return _init(loc, _not_among(given, _QUOTED.findall(context["expected"])))
        if kind in _WORDS:
            return _init(loc, _WORDS[kind].format(**context))
        return _init(loc, detail["msg"])

    @classmethod
    def _unknown(cls, key: str) -> str:
        guess = did_you_mean(key, cls.model_fields)
        if not guess and key in cls.places:
            guess = f" (it belongs {cls.places[key]})"
        if not guess and f"{key}_file" in cls.model_fields:
            guess = f' (secrets do not stand here: use "{key}_file" or "{key}_credential")'
        return f"unknown key{guess}"


def _not_among(given: object, choices: Sequence[str]) -> str:
    if not choices:  # a table's switch, which is there or is not
        return "must be true, or left out"
    listed = " or ".join(f'"{choice}"' for choice in choices)
    guess = did_you_mean(given, choices) if isinstance(given, str) else ""
    shown = f'"{given}"' if isinstance(given, str) else "that"
    return f"must be {listed}, not {shown}{guess}"


def _init(loc: Path_, text: str) -> InitErrorDetails:
    """Return an error as pydantic takes it.  The input, which may be a secret, stays out."""
    return InitErrorDetails(
        type=PydanticCustomError(_WORDED, "{text}", {"text": text}), loc=loc, input=None
    )


def _prune(
    data: Mapping[str, Any], details: Sequence[ErrorDetails]
) -> tuple[dict[str, Any], dict[str, list[int]], set[int | str]]:
    """Return ``data`` without what is broken, where its list elements stood, and the broken keys.

    Of a list only the broken elements go, unless none is left.
    """
    broken: set[int | str] = set()
    elements: dict[str, set[int]] = {}
    for detail in details:
        key, *rest = detail["loc"]
        if rest and isinstance(rest[0], int) and isinstance(data.get(str(key)), list):
            elements.setdefault(str(key), set()).add(rest[0])
        else:
            broken.add(key)
    positions = {
        key: [n for n in range(len(data[key])) if n not in bad] for key, bad in elements.items()
    }
    broken |= {key for key, kept in positions.items() if not kept}
    valid = {key: value for key, value in data.items() if key not in broken}
    for key, kept in positions.items():
        if kept and key in valid:
            valid[key] = [data[key][n] for n in kept]
    return valid, positions, broken


def _moved_back(path: Path_, positions: Mapping[str, list[int]]) -> Path_:
    """Return ``path`` with the index that its list element has in the file."""
    match path:
        case (str() as key, int() as index, *rest) if key in positions:
            return (key, positions[key][index], *rest)
    return path
