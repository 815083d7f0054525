"""The table of the listener for monitors (``docs/metrics.rst``)."""

from datetime import timedelta

from pydantic import Field

from mta.config.fields import setting
from mta.config.section import Section
from mta.config.units import parse_duration as _d
from mta.config.values import Duration, Endpoint


class Metrics(Section):
    """A listener for monitors, over HTTP: /metrics for Prometheus, /healthz, /readyz.  It names no
    addresses and no logins, and has no TLS and no log-in of its own."""

    listen: Endpoint | None = Field(
        None,
        description="Where, written as a listener's endpoint.  None: nothing is counted, nothing"
        " listens.  Each process needs one of its own; workers have ports in a row from here.",
        examples=["127.0.0.1:9125"],
    )
    sample_every: Duration = setting(
        "How old the figures of the queue may grow while somebody asks for them.",
        _d("30s"),
        ge=timedelta(seconds=1),
    )
