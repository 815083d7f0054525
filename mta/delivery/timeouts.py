"""How long each step of an SMTP session may take (RFC 5321 §4.5.3.2).

A time-out runs until the step is *answered*; octets that trickle in do not prolong it.
"""

from dataclasses import dataclass

from mta.smtp.steps import Stage


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds, with the names and minimal values of RFC 5321 §4.5.3.2."""

    connect: float = 30.0  # TCP; to one address
    greeting: float = 300.0  # §4.5.3.2.1
    ehlo: float = 300.0  # not in the RFC; EHLO, HELO, STARTTLS, the TLS handshake, AUTH, RSET
    mail: float = 300.0  # §4.5.3.2.2
    rcpt: float = 300.0  # §4.5.3.2.3
    data_initiation: float = 120.0  # §4.5.3.2.4
    data_block: float = 180.0  # §4.5.3.2.5: until the peer takes more of the message
    data_termination: float = 600.0  # §4.5.3.2.6
    quit: float = 5.0  # for the farewell, which nothing depends on
    # Over all steps of opening a session, and again over those of one transaction; and no
    # other address is tried once an attempt has lasted as long
    total: float = 3600.0

    def of(self, stage: Stage) -> float:
        """Return the seconds that ``stage`` may take."""
        return float(getattr(self, _NAMES.get(stage, "ehlo")))


_NAMES = {
    Stage.GREETING: "greeting",
    Stage.MAIL: "mail",
    Stage.RCPT: "rcpt",
    Stage.DATA: "data_initiation",
    Stage.BDAT: "data_termination",
    Stage.END_OF_DATA: "data_termination",
    Stage.QUIT: "quit",
}
