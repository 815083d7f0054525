"""The JSON records, the page about them and their schema say the same."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest

from mta.log.record import SCHEMA, record
from mta.log.schema import TYPES, schema
from mta.mail import events
from mta.mail.envelope import Asked, DeliverBy, Envelope, Origin, Recipient
from mta.mail.events import (
    Accepted,
    Alert,
    Attempted,
    Authenticated,
    AuthenticationFailed,
    Disconnected,
    Event,
    Finished,
    LeaseLost,
    Note,
    Operated,
    Refused,
    Reported,
    Restrained,
    Ruled,
)
from mta.mail.outcome import Outcome, Peer, Verdict
from mta.mail.queue_id import new_queue_id
from mta.mail.restraint import Restraint

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "events.rst").read_text()
KINDS = {"integer": int, "string": str, "number": (int, float), "boolean": bool, "null": type(None)}


def everything() -> list[Event]:
    """Return events of every type, with and without what may be missing."""
    origin = Origin(
        "smtps", "192.0.2.7", "app.example", "app7", "ESMTPSA", "TLSv1.3 X", "10.0.0.5", "x.example"
    )  # fmt: skip
    envelope = Envelope(new_queue_id(1), "a@b.example", 1, 2, 3, origin=origin)
    recipient = Recipient(0, "u@example.org", "example.org", attempts=1)
    asked = Asked("HDRS", "x", 5, 1, DeliverBy(7, "R"))
    notified = replace(recipient, notify="NEVER")
    outcome = Outcome(0, Verdict.DEFERRED, 451, "4.7.1", "no", "RCPT", peer=Peer("mx", "::1"))
    statuses = ("sent", "discarded", "deferred", "bounced", "expired")
    return [
        *(Attempted(envelope, recipient, outcome, status, 1, 2, 3) for status in statuses),
        Accepted(envelope, (recipient,)),
        Accepted(replace(envelope, asked=asked), (notified,)),
        Attempted(envelope, recipient, replace(outcome, peer=None), "deferred", 1, 2, None),
        Finished("A"),
        Reported("A", "B", "failure"),
        LeaseLost("A", 0, outcome),
        Refused(origin, "RCPT", "550 no", "because"),
        Authenticated(origin, "PLAIN"),
        AuthenticationFailed(origin, "PLAIN", "x", "credentials"),
        Disconnected(origin, "quit", 1, 2, 3.0),
        Operated("hold", "anna", 2, 1, "A", "text"),
        Restrained(Restraint(1, "suspend", "all", "", "why", 1), begins=True),
        Ruled("A", "hold", "a rule"),
        Alert("compromise", "app7", "too much"),
        Note("info", "service", "started"),
    ]


def wrong(value: Any, wanted: dict[str, Any], where: str = "") -> list[str]:
    """Return what is wrong with ``value``, stricter than the schema: no member is unknown."""
    if "const" in wanted:
        return [] if value == wanted["const"] else [f"{where}: {value!r}"]
    kinds = wanted["type"] if isinstance(wanted["type"], list) else [wanted["type"]]
    if kinds == ["array"]:
        return [] if all(isinstance(one, str) for one in value) else [where]
    if kinds != ["object"]:
        fits = any(isinstance(value, KINDS[kind]) for kind in kinds)
        return (
            [] if fits and (type(value) is not bool or "boolean" in kinds) else [f"{where}: kind"]
        )
    found = [f"{where}.{name}: missing" for name in wanted["required"] if name not in value]
    for name, member in value.items():
        known = wanted["properties"].get(name)
        found += (
            [f"{where}.{name}: unknown"]
            if known is None
            else wrong(member, known, f"{where}.{name}")
        )
    return found


def test_the_list_here_has_every_event() -> None:
    """An event that is added is tested, too."""
    assert {type(one) for one in everything()} == set(get_args(events.Event))
    assert {record(one, 1)["type"] for one in everything()} == set(TYPES)


@pytest.mark.parametrize("event", everything())
def test_a_record_keeps_to_the_schema(event: Event) -> None:
    """Read back from its line it has what it must have, and nothing that is not written down."""
    made = json.loads(json.dumps(record(event, 1)))
    [of_type] = [one for one in schema()["oneOf"] if one["title"] == made["type"]]
    assert wrong(made, of_type) == []
    assert made["schema"] == SCHEMA == schema()["properties"]["schema"]["const"]


def test_the_schema_in_the_documents_is_that_of_the_code() -> None:
    """``python -m mta.log.schema > docs/events.schema.json`` was run."""
    assert json.loads((ROOT / "docs" / "events.schema.json").read_text()) == schema()


def test_the_page_has_each_type_and_each_member() -> None:
    """And each member that the page names behind a type exists."""
    for of_type in schema()["oneOf"]:
        assert re.search(rf"^{of_type['title']} +\S", PAGE, re.MULTILINE), of_type["title"]
        members = of_type["properties"] | of_type["properties"].get("response", {}).get(
            "properties", {}
        )
        for member in members:
            assert f"``{member}``" in PAGE, member
    assert f"(the version: {SCHEMA})" in PAGE
