"""All filters of the program, and a client's conversations with those it concerns."""

from collections.abc import Sequence

from mta.milter.conversation import Conversation
from mta.milter.examination import Examination
from mta.milter.filter import Filter
from mta.milter.macros import Client


class Screening:
    """One client, from its connection to its end."""

    def __init__(self, filters: Sequence[Filter], client: Client) -> None:
        self._talks = [Conversation(one, client) for one in filters]
        self._listener = client.daemon

    def begin(self, *, submission: bool) -> Examination | None:
        """Begin with a message; None if no filter is to see it."""
        listener = self._listener
        talks = [
            talk for talk in self._talks if talk.settings.concerns(listener, submission=submission)
        ]
        return Examination(talks) if talks else None

    def unknown(self, command: str) -> None:
        """Tell of a command that was none."""
        for talk in self._talks:
            talk.unknown(command)

    def leave(self) -> None:
        """The client has gone."""
        for talk in self._talks:
            talk.leave()


class Milters:
    """Made from the settings; a reload makes new ones, which sessions that follow use."""

    def __init__(self, filters: Sequence[Filter]) -> None:
        self._filters = tuple(filters)

    def arrive(self, client: Client) -> Screening | None:
        """Begin with a client; None if no filter concerns its listener."""
        filters = [
            one
            for one in self._filters
            if not one.settings.listeners or client.daemon in one.settings.listeners
        ]
        return Screening(filters, client) if filters else None
