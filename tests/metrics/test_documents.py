"""Code, page and dashboard speak of the same metrics."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from mta.metrics.families import Families

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "metrics.rst").read_text()
DASHBOARD = json.loads((ROOT / "etc" / "grafana-dashboard.json").read_text())


def families() -> dict[str, set[str]]:
    """Return the names of all families as they are scraped, each with its series' names."""
    return {
        name: {name, f"{name}_sum", f"{name}_count", f"{name}_bucket"}
        for family in Families().registry.collect()
        for name in [family.name + ("_total" if family.type == "counter" else "")]
    }


def expressions() -> Iterator[str]:
    """Yield every query of the dashboard."""
    for panel in DASHBOARD["panels"]:
        yield from (target["expr"] for target in panel["targets"])
    yield from (one["query"] for one in DASHBOARD["templating"]["list"])


def test_every_metric_of_the_dashboard_exists() -> None:
    """A panel that asks for nothing would be empty for ever, and look well."""
    known = set().union(*families().values())
    named = {name for text in expressions() for name in re.findall(r"\b(?:mta|process)_\w+", text)}
    assert len(named) > 20
    assert named - known == set()


def test_the_page_has_every_metric_and_no_other() -> None:
    """Each is explained with its labels."""
    ours = {name for name in families() if name.startswith("mta_")}
    written = set(re.findall(r"``(mta_\w+[a-z])``", PAGE))
    assert ours - written == set()
    assert written - ours == set()


def test_the_page_names_each_label() -> None:
    """The labels stand behind the name, in their order."""
    for metric in vars(Families)["__slots__"]:
        one = getattr(Families(), metric)
        labels = getattr(one, "_labelnames", ())
        if labels:
            name = one._name + ("_total" if one._type == "counter" else "")
            wanted = f"``{name}`` ({', '.join(f'``{label}``' for label in labels)})"
            assert wanted in PAGE, wanted


def test_names_follow_the_conventions() -> None:
    """Prefix, base units, ``_total`` for what only grows."""
    for family in Families().registry.collect():
        if family.name.startswith("mta_"):
            assert not re.search(r"_(ms|minutes|octets|kib)(_|$)", family.name), family.name
            assert family.documentation.endswith("."), family.name
