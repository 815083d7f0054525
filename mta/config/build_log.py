"""Open what the settings want the log written to."""

from mta.config.settings import Settings
from mta.launch import EX_CANTCREAT, StartFailed
from mta.log.mail_log import Stamp
from mta.log.sinks import Sink
from mta.log.targets import record_sinks, text_sinks


def sinks(settings: Settings, *, foreground: bool) -> tuple[list[tuple[Sink, Stamp]], list[Sink]]:
    """Return the sinks of lines and of records, all open; ``StartFailed`` if one cannot be."""
    wanted = settings.log
    text: list[tuple[Sink, Stamp]] = []
    try:
        text = text_sinks(wanted.text, foreground=foreground)
        return text, record_sinks(wanted.json_lines, foreground=foreground)
    except OSError as error:
        for sink, _ in text:
            sink.close()
        raise StartFailed(f"log {error.filename}: {error.strerror}", EX_CANTCREAT) from error
