"""The table of the reports on TLS that we send to others (RFC 8460, ``docs/tlsrpt.rst``)."""

import re
from collections.abc import Iterator
from datetime import timedelta

from pydantic import Field, StrictBool

from mta.config.fields import setting
from mta.config.section import Conflict, Section
from mta.config.units import parse_duration as _d
from mta.config.values import Address, Duration
from mta.mail.address import split

_PLAIN = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+")


class TlsReport(Section):
    """Daily reports on TLS (RFC 8460) to domains that want them: how sessions with their mail
    exchangers went.  They are made as soon as there is a contact."""

    enabled: StrictBool = Field(
        True, description="Whether sessions are counted and reports made, if there is a contact."
    )
    contact: Address | None = Field(
        None,
        description="Mail address of who is responsible for the reports; they bear it.  Its domain"
        " is who reports.",
        examples=["tls-reports@example.org"],
    )
    organization: str | None = Field(
        None,
        min_length=1,
        max_length=200,
        description="Name of the organisation that reports.  None: the domain of the contact.",
        examples=["Example, Inc."],
    )
    sender: Address | None = Field(
        None,
        description="Mail address that reports come from, in the domain of the contact.  None: the"
        " contact.  The domain needs a DKIM key, or no report goes out by mail.",
        examples=["noreply-tls-reports@example.org"],
    )
    delay: Duration = setting(
        "How long after the end of the day (UTC) the first reports are made.", _d("1h")
    )
    spread: Duration = setting(
        "The reports of one day are spread at random over so long a time.", _d("4h")
    )
    retention: Duration = setting(
        'How long what was counted, and what was reported, is kept for "mta tls report".', _d("14d")
    )
    private_addresses: StrictBool = Field(
        False,
        description="Whether reports are also posted to hosts with addresses of private networks."
        "  Who wants reports says where to, and could mean your own hosts.",
    )

    def conflicts(self) -> Iterator[Conflict]:
        """Yield what cannot stand in a report."""
        for key in ("contact", "sender"):
            address = getattr(self, key)
            if address is not None and not _PLAIN.fullmatch(split(address)[0]):
                yield Conflict((key,), "must be a mail address in plain ASCII", (key,))
        if self.retention < timedelta(days=2):
            yield Conflict(("retention",), "must be 2d at least: reports are made meanwhile")
        if self.sender is not None and self.contact is None:
            yield Conflict(("sender",), "needs contact", ("contact",))
        elif self.sender is not None and self.contact is not None:
            domain = split(self.contact)[1]
            if split(self.sender)[1] != domain:
                text = f"must be in {domain}, the domain of contact (RFC 8460 §5.3)"
                yield Conflict(("sender",), text, ("contact",))
