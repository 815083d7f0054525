"""Turn the tables of filters into what ``mta.milter`` takes."""

from typing import Any

from twisted.internet.endpoints import clientFromString

from mta.config.milter_section import Milter
from mta.config.settings import Settings
from mta.milter.filter import Filter
from mta.milter.milters import Milters
from mta.milter.settings import Mail, MilterSettings, WhenAway


def milters(settings: Settings, reactor: Any) -> Milters | None:
    """Return the filters; None if there are none."""
    if not settings.milter:
        return None
    return Milters(
        [
            Filter(reactor, clientFromString(reactor, one.endpoint), one)
            for one in milter_settings(settings)
        ]
    )


def milter_settings(settings: Settings) -> tuple[MilterSettings, ...]:
    """Return what is said of the filters, in their order."""
    return tuple(map(_milter, settings.milter))


def _milter(one: Milter) -> MilterSettings:
    return MilterSettings(
        name=one.name,
        endpoint=one.endpoint,
        listeners=one.listeners,
        mail=Mail(one.mail),
        connect_s=one.connect_timeout.total_seconds(),
        command_s=one.command_timeout.total_seconds(),
        content_s=one.content_timeout.total_seconds(),
        end_s=one.end_timeout.total_seconds(),
        when_away=WhenAway(one.when_away),
        max_body=one.max_body,
    )
