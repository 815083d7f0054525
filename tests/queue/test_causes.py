"""The cause of a failure is found when an attempt ends, and goes wherever the outcome goes."""

from mta.causes.rules import Rules
from mta.config.build_causes import shipped
from mta.mail.events import Attempted


def test_the_cause_is_in_history_event_and_report(any_stage):
    """What a reply means stands in both rows, in the event, and in both parts of the report."""
    scheduler = any_stage.scheduler(causes=Rules(shipped()))
    message_id = any_stage.accept(scheduler, "u@example.com")
    any_stage.one().bounces("<u@example.com>: Recipient address rejected: User unknown")
    any_stage.advance(0)
    assert [row.category for row in any_stage.history(message_id)] == ["unknown-user"]
    assert [row.last_category for row in any_stage.rows(message_id)] == ["unknown-user"]
    assert any_stage.seen(Attempted)[0].outcome.cause == "unknown-user"
    [(_, report)] = any_stage.reports(message_id)
    assert b"\r\nX-MTA-Cause: unknown-user\r\n" in report
    assert b"There is no such mailbox." in report


def test_each_recipient_has_its_own_cause_and_a_delivery_none(any_stage):
    """Of one attempt one recipient's failure says nothing about another's delivery."""
    scheduler = any_stage.scheduler(causes=Rules(shipped()))
    message_id = any_stage.accept(scheduler, "u@example.com")
    any_stage.one().defers("Greylisted, please come back later")
    any_stage.advance(0)
    any_stage.advance(300)
    any_stage.advance(1)
    any_stage.one().delivers()
    any_stage.advance(0)
    assert [row.category for row in any_stage.history(message_id)] == ["greylisted", ""]
    assert [row.last_category for row in any_stage.rows(message_id)] == [""]


def test_what_was_never_dialled_waits(stage):
    """Mail for a dead site whose time is over was refused by nobody: its cause is "waiting"."""
    scheduler = stage.scheduler(causes=Rules(shipped()))
    for number in range(5):
        stage.accept(scheduler, f"u{number}@example.com")
    for attempt in stage.take():
        attempt.site_fails()
    stage.advance(0)
    late = stage.accept(scheduler, "v@example.com", expires_s=1)
    stage.advance(1)
    stage.advance(1)
    assert [row.category for row in stage.history(late)] == ["waiting"]
