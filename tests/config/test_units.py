"""Durations and sizes: what is read, what is refused, and that writing reads back."""

from datetime import timedelta

import pytest

from mta.config.units import format_duration, format_size, parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("5m", 300),
        ("4d", 345_600),
        ("1h30m", 5400),
        ("1h 30m", 5400),
        ("2w", 1_209_600),
        ("1.5h", 5400),
        ("250ms", 0.25),
    ],
)
def test_durations(text: str, seconds: float):
    """Every unit, alone and together."""
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "value", ["", "5", "m", "5 parsecs", "-5m", "5m!", "0s", "9e9d", "999999999w"]
)
def test_durations_refused(value: str):
    """What is no duration, nothing, or longer than any use."""
    with pytest.raises(ValueError):
        parse_duration(value)


def test_a_bare_number_is_refused_with_advice():
    """Nobody can see whether 5 means seconds or minutes."""
    with pytest.raises(ValueError, match=r'is 5 of what.*"5s", "5m", "5h"'):
        parse_duration(5)
    with pytest.raises(ValueError, match="must be a duration in quotes"):
        parse_duration(True)


@pytest.mark.parametrize("text", ["90s", "5m", "4d", "1h30m", "14d", "1d2h3m4s5ms", "1m30s"])
def test_durations_are_written_as_they_are_read(text: str):
    """The text shown means the same value."""
    assert parse_duration(format_duration(parse_duration(text))) == parse_duration(text)


def test_durations_are_written_short():
    """90 seconds and two weeks, in the units that people think in."""
    assert format_duration(timedelta(seconds=90)) == "1m30s"
    assert format_duration(timedelta(days=14)) == "14d"


@pytest.mark.parametrize(
    ("value", "octets"),
    [
        ("50MiB", 52_428_800),
        ("10MB", 10_000_000),
        ("10 MB", 10_000_000),
        ("1024", 1024),
        (1024, 1024),
        ("64KiB", 65_536),
        ("3kB", 3000),
        ("1GiB", 1_073_741_824),
        (0, 0),
    ],
)
def test_sizes(value: object, octets: int):
    """Every way to write one, and back."""
    assert parse_size(value) == octets
    assert parse_size(format_size(octets)) == octets


@pytest.mark.parametrize("value", ["", "MB", "-1", "50Mb", "50M", "1.5MiB", -1, 1.5, True])
def test_sizes_refused(value: object):
    """Bits, unknown units, fractions and negative numbers."""
    with pytest.raises(ValueError):
        parse_size(value)
