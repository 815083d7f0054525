"""What has to be told about MTA-STS."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StsSettings:
    """How MTA-STS is looked at."""

    enabled: bool = True
    first_wait_s: float = 5.0  # how long mail waits for the policy of a domain not known yet
