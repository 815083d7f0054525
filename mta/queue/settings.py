"""What the queue can be told; the configuration builds it, SIGHUP replaces it as a whole."""

from collections.abc import Set
from dataclasses import dataclass, field, replace

from mta.causes.rules import Rules
from mta.policy.aliases import LocalAddresses
from mta.queue.limits import Limits
from mta.queue.retry import RetrySchedule


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """All knobs of the queue.  Times in seconds, sizes in octets."""

    host_name: str  # names us in reports
    retry: RetrySchedule = field(default_factory=RetrySchedule)
    expiry_s: float = 5 * 86400.0  # of our own reports; inbound sets that of mail
    delay_warning_s: float | None = 4 * 3600.0  # None: never warn
    active_recipients: int = 20_000  # how much of the queue is in memory at most
    active_octets: int = 16 * 1024 * 1024  # of it, bodies that were kept when they were accepted
    limits: Limits = field(default_factory=Limits)
    attempt_limit_s: float = 4 * 3600.0  # an attempt that runs longer is cancelled
    lease_s: float = 180.0  # a process that has been silent for so long has lost its mail
    retention_s: float = 7 * 86400.0  # how long finished mail can be traced
    transcript_retention_s: float = 3 * 86400.0  # how long it is known what was said in attempts
    returned_retention_s: float = 3 * 86400.0  # how long octets of what was given up are kept
    returned_octets: int = 256 * 1024 * 1024  # and how many of them at most
    orphan_age_s: float = 86400.0  # stored chunks without a message are swept when so old
    tls_report_retention_s: float = 14 * 86400.0  # how long it is known what was counted of TLS
    postmaster: str = ""  # address for copies; "" for none
    postmaster_copies: Set[str] = frozenset()  # of "failure", "delay", "double"
    return_whole_octets: int = (
        0  # reports carry the whole message up to this size, else its headers
    )
    return_full_octets: int = 1024 * 1024  # the same where the sender has said RET=FULL
    addresses: LocalAddresses | None = None  # who hears of what failed at addresses of ours
    causes: Rules = field(default_factory=Rules)  # what a failed outcome is called

    @property
    def site_limits(self) -> Limits:
        """The limits, with no site's share above a quarter of the active set."""
        share = min(self.limits.share, max(1, self.active_recipients // 4))
        return replace(self.limits, share=share)
