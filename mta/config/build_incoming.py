"""Turn the tables of mail from outside into what ``mta.verify`` and ``mta.dnsbl`` take."""

from mta.config.incoming_sections import Dnsbl, code_range
from mta.config.settings import Settings
from mta.dnsbl.zone import ANY, Blocklist
from mta.policy.decision import Action
from mta.verify.settings import VerifySettings

_ACTIONS = {"record": Action.ACCEPT, "hold": Action.HOLD, "refuse": Action.REFUSE}


def verify_settings(settings: Settings) -> VerifySettings | None:
    """Return how mail from outside is verified; None: it is not."""
    incoming = settings.incoming
    if not incoming.authentication_results:
        return None
    return VerifySettings(
        authserv_id=incoming.authserv_id or settings.host_name,
        spf=incoming.spf,
        dkim=incoming.dkim,
        dmarc=incoming.dmarc,
        on_reject=_ACTIONS[incoming.dmarc_reject],
        on_quarantine=_ACTIONS[incoming.dmarc_quarantine],
        signatures=incoming.signatures,
        timeout_s=incoming.timeout.total_seconds(),
    )


def blocklists(settings: Settings) -> tuple[Blocklist, ...]:
    """Return the lists that clients are looked up in."""
    return tuple(map(_blocklist, settings.dnsbl))


def dnsbl_test_s(settings: Settings) -> float:
    """Return the seconds between two tests of a list."""
    return settings.incoming.dnsbl_test.total_seconds()


def _blocklist(one: Dnsbl) -> Blocklist:
    codes = tuple(found for text in one.codes if (found := code_range(text)) is not None)
    return Blocklist(one.zone, _ACTIONS[one.action], codes or ANY, one.text)
