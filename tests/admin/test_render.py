"""Texts for people: harmless, short, and unmistakable."""

from datetime import timedelta, timezone

import pytest

from mta.admin import render
from mta.admin.ranges import AGES, COUNTS, Range


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (-5, "0s"),
        (999, "0s"),
        (59_000, "59s"),
        (61_000, "1m1s"),
        (600_000, "10m"),
        (5_400_000, "1h30m"),
        (36_000_000, "10h"),
        (90_000_000, "1d1h"),
        (864_000_000, "10d"),
    ],
)
def test_span(ms, text):
    """A length of time has two units at most, and one from ten on."""
    assert render.span(ms) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0"),
        (1023, "1023"),
        (1024, "1.0K"),
        (10_240, "10K"),
        (5_000_000, "4.8M"),
        (2**40, "1024G"),
    ],
)
def test_octets(size, text):
    """A size keeps to five characters."""
    assert render.octets(size) == text


def test_moment():
    """A moment carries its offset from UTC, so that two readers mean the same."""
    zone = timezone(timedelta(hours=1))
    assert render.moment(1_800_000_000_000, zone) == "2027-01-15 09:00:00+0100"


def test_wide_characters_line_up(capsys):
    """Characters that take two cells are counted as two."""
    columns = (render.Column("A"), render.Column("B"))
    render.table(columns, [("漢字", "x"), ("ab", "y")])
    assert capsys.readouterr().out == "A     B\n漢字  x\nab    y\n"


def test_visible():
    """Printable text stays as it is, in any script; the rest becomes an escape."""
    assert render.visible("Grüße, 世界") == "Grüße, 世界"
    assert render.visible("\x00\x7f\x85\u2028\U000e0001\udce9") == (
        r"\x00\x7f\x85\u2028\U000e0001\udce9"
    )


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        (AGES, ">1h", Range(3_600_001, None)),
        (AGES, ">=1h", Range(3_600_000, None)),
        (AGES, "<2d", Range(None, 172_799_999)),
        (AGES, " <= 90s", Range(None, 90_000)),
        (AGES, "1h..1h30m", Range(3_600_000, 5_400_000)),
        (COUNTS, "3", Range(3, 3)),
        (COUNTS, ">3", Range(4, None)),
        (COUNTS, "0..2", Range(0, 2)),
    ],
)
def test_ranges(kind, text, expected):
    """A range is read with both ends included."""
    assert kind.convert(text, None, None) == expected


def test_progress_is_for_terminals(monkeypatch, capsys):
    """A long work shows its bar on a terminal, and nothing where standard error is a file."""
    for terminal in (False, True):
        monkeypatch.setattr("sys.stderr.isatty", lambda terminal=terminal: terminal)
        with render.progress("hold", 5000) as advance:
            advance(2500)
            advance(2500)
        out, err = capsys.readouterr()
        assert out == ""
        assert ("5000/5000" in err) is terminal
