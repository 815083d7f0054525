"""What the making of reports needs to be told."""

from dataclasses import dataclass

from mta.tlsrpt.document import Author


@dataclass(frozen=True, slots=True)
class ReportSettings:
    """Read anew at every step."""

    author: Author
    sender: str  # From, and the envelope's sender: its domain has a DKIM key
    host_name: str
    delay_s: float = 3600.0  # from the end of the day (UTC) to the first reports
    spread_s: float = 14_400.0  # over which they are spread (RFC 8460 §4.1)
    private_addresses: bool = False  # reports may be posted to hosts inside
