"""Polling is seldom while news come by themselves, and as often as ever when they do not."""

from typing import Any


def reads(stage: Any, seconds: float) -> int:
    """Let time pass in small steps; return how often the spool was read."""
    before = stage.database.reads
    for _ in range(int(seconds * 10)):
        stage.clock.advance(0.1)
    return stage.database.reads - before


def test_an_idle_queue_that_listens_polls_seldom(stage: Any) -> None:
    """A fifth of the reads, and all of them again as soon as the line is lost."""
    scheduler = stage.scheduler()
    often = reads(stage, 20)
    line = [True]
    scheduler.listen(lambda: line[0])
    reads(stage, 5)
    assert 0 < reads(stage, 20) <= often / 4
    line[0] = False
    reads(stage, 5)
    assert reads(stage, 20) >= often - 2


def test_news_are_looked_at_at_once(stage: Any) -> None:
    """What another process has put into the spool is begun without waiting for the poll."""
    news = stage.scheduler().listen(lambda: True)
    reads(stage, 7)
    stage.accept(None, "b@example.com")
    stage.advance(0)
    assert stage.take() == []
    news()
    stage.advance(0)
    assert [attempt.to for attempt in stage.take()] == [["b@example.com"]]


def test_news_wake_nobody_who_has_stopped(stage: Any) -> None:
    """A scheduler that has stopped is not woken to life by news."""
    scheduler = stage.scheduler()
    news = scheduler.listen(lambda: True)
    scheduler.stop(0.0)
    before = stage.database.reads
    news()
    stage.advance(0)
    assert stage.database.reads == before
