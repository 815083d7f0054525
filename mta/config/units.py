"""Durations and sizes as people write them, there and back."""

import re
from datetime import timedelta

_DURATION_UNITS = {
    "w": 604_800_000,
    "d": 86_400_000,
    "h": 3_600_000,
    "m": 60_000,
    "s": 1000,
    "ms": 1,
}
_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)(w|d|h|ms|m|s))")

_SIZE_UNITS = {
    "": 1,
    "B": 1,
    "kB": 1000,
    "KB": 1000,
    "KiB": 1024,
    "MB": 1000**2,
    "MiB": 1024**2,
    "GB": 1000**3,
    "GiB": 1024**3,
    "TB": 1000**4,
    "TiB": 1024**4,
}
_SIZE = re.compile(r"(\d+)\s*([A-Za-z]*)\Z")
_WRITTEN_SIZES = ("TiB", "TB", "GiB", "GB", "MiB", "MB", "KiB", "kB")

_LONGEST_MS = 100 * 365 * 86_400_000


def parse_duration(value: object) -> timedelta:
    """Return the duration that ``"90s"``, ``"5m"``, ``"1h30m"`` or ``"4d"`` means, longer than 0.

    ``ValueError`` says what to write instead; a bare number is refused, for nobody can see
    whether it means seconds or minutes.
    """
    if isinstance(value, timedelta):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise ValueError(f'is {value} of what?  Write a unit: "{value}s", "{value}m", "{value}h"')
    if not isinstance(value, str):
        raise ValueError('must be a duration in quotes, such as "90s", "5m", "1h30m" or "4d"')
    text = value.replace(" ", "")
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f'"{value}" is no duration: write "90s", "5m", "1h30m" or "4d"')
    milliseconds = sum(float(number) * _DURATION_UNITS[unit] for number, unit in parts)
    if not 1 <= milliseconds <= _LONGEST_MS:
        raise ValueError(f'"{value}" must be at least "1ms" and at most a hundred years')
    return timedelta(milliseconds=round(milliseconds))


def format_duration(value: timedelta) -> str:
    """Return the shortest text that ``parse_duration`` reads as ``value``."""
    left = round(value / timedelta(milliseconds=1))
    parts = []
    for unit, length in _DURATION_UNITS.items():
        count, left = divmod(left, length)
        if unit == "w":  # "14d" reads better than "2w"
            left += count * length
        elif count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def parse_size(value: object) -> int:
    """Return the octets that ``"50MiB"``, ``"10MB"``, ``"1024"`` or ``1024`` mean."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise ValueError('must be a size in quotes, such as "50MiB", "10MB" or "1024"')
    match = _SIZE.match(value.strip())
    if match is None:
        raise ValueError(f'"{value}" is no size: write "50MiB", "10MB" or octets, "1024"')
    number, unit = match.groups()
    if unit not in _SIZE_UNITS:
        raise ValueError(f'"{value}" has an unknown unit: write kB, KiB, MB, MiB, GB or GiB')
    return int(number) * _SIZE_UNITS[unit]


def format_size(octets: int) -> str:
    """Return the shortest exact text that ``parse_size`` reads as ``octets``."""
    for unit in _WRITTEN_SIZES:
        count, left = divmod(octets, _SIZE_UNITS[unit])
        if count and not left:
            return f"{count}{unit}"
    return str(octets)
