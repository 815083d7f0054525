"""What was said in attempts, in the spool: one row an attempt, forgotten in time."""

from dataclasses import replace

from mta.spool import outcomes, retention, transcripts
from mta.spool.schema import State
from mta.spool.transcripts import Transcript

SAID = "    0.000 < 451 4.7.1 Später\n    0.100 > QUIT"


def _said(settled, text=SAID):
    return replace(settled, outcome=replace(settled.outcome, transcript=text))


def test_one_row_for_all_recipients(table, mail):
    """However many recipients an attempt has, it is told once, and comes back as it was."""
    item = mail.intake(*(f"u{n}@example.com" for n in range(9)), claim=mail.token)
    table.accept(item)
    settled = [_said(mail.settled(n, State.QUEUED)) for n in range(9) if n not in (4, 6)]
    settled += [mail.settled(n, State.DELIVERED) for n in (4, 6)]
    table.write(outcomes.record, [mail.record(item, *settled)])
    assert table.rows("SELECT numbers FROM transcripts") == [("0-3,5,7-8",)]
    assert table.read(transcripts.of_message, item.envelope.id) == (
        Transcript(mail.now + 10, mail.now + 20, "node1", (0, 1, 2, 3, 5, 7, 8), SAID),
    )


def test_two_routes_of_one_job(table, mail):
    """Recipients that went different ways at the same moment have a row for each way."""
    item = mail.intake("a@example.com", "b@example.com", claim=mail.token)
    table.accept(item)
    settled = [_said(mail.settled(n, State.QUEUED), f"way {n}") for n in (0, 1)]
    table.write(outcomes.record, [mail.record(item, *settled)])
    found = table.read(transcripts.of_message, item.envelope.id)
    assert [(one.recipients, one.text) for one in found] == [((0,), "way 0"), ((1,), "way 1")]


def test_nothing_is_written_of_success(table, mail):
    """Without a transcript there is no row."""
    item = mail.intake(claim=mail.token)
    table.accept(item)
    table.write(outcomes.record, [mail.record(item)])
    assert table.rows("SELECT count(*) FROM transcripts") == [(0,)]


def test_what_no_database_takes(table, mail):
    """Attack: a lone surrogate or NUL in a transcript does not make the outcome unwritable."""
    item = mail.intake(claim=mail.token)
    table.accept(item)
    settled = _said(mail.settled(0, State.QUEUED), "\ud800 \0")
    table.write(outcomes.record, [mail.record(item, settled)])
    (found,) = table.read(transcripts.of_message, item.envelope.id)
    assert found.text == "\\ud800 \\x00"


def test_purge(table, mail):
    """Transcripts go after their time, oldest first and so many at once, the message stays."""
    for n in range(3):
        item = mail.intake(claim=mail.token)
        table.accept(item)
        times = {"started_ms": mail.now + n, "ended_ms": mail.now + n}
        table.write(
            outcomes.record, [mail.record(item, _said(mail.settled(0, State.QUEUED)), **times)]
        )
    assert table.write(transcripts.purge, mail.now + 2, 1) == 1
    assert table.rows("SELECT ended_ms FROM transcripts ORDER BY 1") == [
        (mail.now + 1,),
        (mail.now + 2,),
    ]
    assert table.write(transcripts.purge, mail.now + 2, 10) == 1
    assert table.write(transcripts.purge, mail.now + 2, 10) == 0
    assert table.rows("SELECT count(*) FROM attempts") == [(3,)]


def test_forgotten_with_the_message(table, mail):
    """A message whose retention is over takes its transcripts along."""
    item = mail.intake(claim=mail.token)
    table.accept(item)
    table.write(outcomes.record, [mail.record(item, _said(mail.settled(0, State.BOUNCED)))])
    assert table.write(retention.purge, mail.now + 1000, 1, 10)[0] == 1
    assert table.rows("SELECT count(*) FROM transcripts") == [(0,)]
