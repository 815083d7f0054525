"""What nobody uses costs nothing."""

import subprocess
import sys

from prometheus_client import generate_latest
from twisted.internet.task import Clock

from mta.log.mail_log import MailLog
from mta.mail.events import Event, Finished
from mta.metrics.families import Families

_SCRIPT = """
import sys
import mta.service, mta.config.build_metrics
heavy = ("prometheus_client", "twisted.web.wsgi", "mta.metrics")
loaded = [name for name in sys.modules if name.startswith(heavy)]
assert not loaded, loaded
"""


def test_the_service_does_not_load_the_library() -> None:
    """Nothing of it is imported before ``metrics.listen`` is set."""
    subprocess.run([sys.executable, "-c", _SCRIPT], check=True, timeout=60)


def test_the_log_passes_each_event_on_once_it_is_asked_to() -> None:
    """``also`` hears what the log hears, sinks or none."""
    log, heard = MailLog(Clock()), list[Event]()
    log(Finished("A"))
    log.also = heard.append
    log(Finished("B"))
    assert heard == [Finished("B")]


def test_a_fresh_registry_is_written_out() -> None:
    """Two registries can live in one process, and name the build."""
    for families in (Families(), Families()):
        assert b"mta_build_info{" in generate_latest(families.registry)
