"""What the verification of mail from outside can be told.  Frozen."""

from dataclasses import dataclass

from mta.policy.decision import Action


@dataclass(frozen=True, slots=True)
class VerifySettings:
    """What is looked at, and what comes of it."""

    authserv_id: str  # in whose name the results are written
    spf: bool = True
    dkim: bool = True
    dmarc: bool = True
    on_reject: Action = Action.ACCEPT  # DMARC fails and its owner wants it refused
    on_quarantine: Action = Action.ACCEPT  # likewise, wants it looked at
    signatures: int = 5  # looked at in a message
    timeout_s: float = 10.0  # that the client waits after its message is complete
