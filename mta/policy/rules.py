"""All of the policy in one frozen value; a reload of the configuration makes a new one."""

from dataclasses import dataclass, field

from mta.policy.brake import BrakeSettings
from mta.policy.guard import GuardSettings
from mta.policy.holds import Holds
from mta.policy.limits import Limits
from mta.policy.recipients import Recipients
from mta.policy.senders import Senders


@dataclass(frozen=True, slots=True)
class Policy:
    """What holds.  ``guard`` and ``brake`` are None where they are switched off."""

    senders: Senders = field(default_factory=Senders)
    limits: Limits = field(default_factory=Limits)
    holds: Holds = field(default_factory=Holds)
    recipients: Recipients = field(default_factory=Recipients)
    guard: GuardSettings | None = field(default_factory=GuardSettings)
    brake: BrakeSettings | None = None
