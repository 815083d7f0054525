"""The views are an interface: their columns, order and types are written down here."""

import pytest
from sqlalchemy import inspect

from mta.spool import operate, outcomes
from mta.spool.engine import writing
from mta.spool.filters import Filter
from mta.spool.schema import State

T, N, F = "text", "number", "fraction"
COLUMNS = {
    "v_version": {"version": N},
    "v_queue": {
        "message_id": T, "number": N, "sender": T, "recipient": T, "domain": T, "login": T,
        "state": T, "size": N, "created_ms": N, "expires_ms": N, "attempts": N,
        "next_attempt_ms": N, "in_hand": N, "route": T, "last_ms": N, "last_code": N,
        "last_enhanced": T, "last_text": T, "last_host": T, "last_category": T,
    },
    "v_attempt": {
        "message_id": T, "number": N, "recipient": T, "domain": T, "attempt": N, "node": T,
        "started_ms": N, "ended_ms": N, "verdict": T, "state": T, "next_attempt_ms": N,
        "cause": T, "site": T, "code": N, "enhanced": T, "text": T, "command": T, "blame": T,
        "maybe_delivered": N, "connect_s": F, "transmit_s": F, "host": T, "address": T, "port": N,
        "tls_level": T, "tls_version": T, "tls_cipher": T, "tls_why": T, "tls_required": T,
        "tls_required_why": T, "category": T, "source": T,
    },
    "v_event": {
        "id": N, "message_id": T, "number": N, "at_ms": N, "verb": T, "who": T, "text": T,
    },
    "v_site": {
        "site": T, "attempts": N, "delivered": N, "deferred": N, "failed": N, "waiting": N,
        "first_ms": N, "last_ms": N,
    },
}  # fmt: skip
_PYTHON = {T: str, N: int, F: float}
_POSTGRESQL = {T: {"text"}, N: {"integer", "bigint"}, F: {"double precision"}}


@pytest.fixture
def filled(table, mail):
    """Give a spool with a row for each view."""
    item = mail.intake("a@there.test", "b@there.test", claim=mail.token)
    table.accept(item)
    settled = [mail.settled(0, State.QUEUED), mail.settled(1, State.DELIVERED)]
    table.write(outcomes.record, [mail.record(item, *settled)])
    table.write(operate.hold, Filter(ids=(item.envelope.id,)), mail.now, "anna")
    return table


@pytest.mark.parametrize("view", COLUMNS)
def test_columns_and_types(filled, view):
    """Within a version no column changes its name, its place or its type."""
    with filled.engine.begin() as conn:
        result = conn.exec_driver_sql(f"SELECT * FROM {view}")
        assert list(result.keys()) == list(COLUMNS[view])
        row = result.first()
        for value, kind in zip(row, COLUMNS[view].values(), strict=True):
            assert isinstance(value, _PYTHON[kind]), (view, row)
        if conn.dialect.name == "postgresql":
            sql = (
                "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = "
            )
            types = dict(tuple(one) for one in conn.exec_driver_sql(f"{sql}'{view}'"))
            for name, kind in COLUMNS[view].items():
                assert types[name] in _POSTGRESQL[kind], name


def test_what_they_say(filled, mail):
    """The views tell what the tables know, in the words of the documentation."""
    assert filled.rows("SELECT recipient, state, in_hand, last_code FROM v_queue") == [
        ("a@there.test", "held", 0, 451)
    ]
    assert filled.rows("SELECT number, verdict FROM v_attempt ORDER BY number") == [
        (0, "deferred"),
        (1, "delivered"),
    ]
    assert filled.rows("SELECT number, verb, who FROM v_event") == [(0, "hold", "anna")]
    assert filled.rows("SELECT attempts, delivered, deferred, failed, waiting FROM v_site") == [
        (2, 1, 1, 0, 1)
    ]


def test_nothing_secret(filled):
    """Attack: no view leads to content, accounts, keys or the claims of processes."""
    with writing(filled.engine) as conn:
        views = set(inspect(conn).get_view_names())
    assert {name for name in views if name.startswith("v_")} == set(COLUMNS)
    for columns in COLUMNS.values():
        assert not {"data", "salt", "stored_key", "server_key", "value", "claim"} & set(columns)
