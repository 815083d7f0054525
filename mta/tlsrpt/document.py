"""The report itself: JSON as RFC 8460 §4.4 has it, and the names of its file (§5.1).

Pure: what was counted goes in, octets come out, the same for the same.  Everything in it that
comes from strangers is a JSON string in ASCII.
"""

import gzip
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from mta.mail.address import domain_of
from mta.mail.tls_session import AppliedPolicy, PolicyType, TlsSession
from mta.spool.tls_sessions import Counted

_DAY_S = 86_400
_COARSE = "details of further sessions are left out: there were too many different ones"


@dataclass(frozen=True, slots=True)
class Author:
    """Who reports."""

    organization: str
    contact: str  # a mail address

    @property
    def domain(self) -> str:
        """TLS-Report-Submitter (RFC 8460 §5.3)."""
        return domain_of(self.contact)


def full_id(report_id: str, author: Author) -> str:
    """Return a report's id as it is told: unique in the world."""
    return f"{report_id}@{author.domain}"


def document(
    author: Author, day: int, report_id: str, counted: Sequence[Counted]
) -> dict[str, Any]:
    """Return the report on ``day`` (since the epoch, UTC)."""
    by_policy: dict[AppliedPolicy, list[Counted]] = {}
    for one in counted:
        by_policy.setdefault(one.session.policy, []).append(one)
    order = sorted(by_policy, key=lambda policy: (policy.kind, policy.domain, policy.lines))
    return {
        "organization-name": author.organization,
        "date-range": {
            "start-datetime": _moment(day * _DAY_S),
            "end-datetime": _moment((day + 1) * _DAY_S - 1),
        },
        "contact-info": author.contact,
        "report-id": full_id(report_id, author),
        "policies": [_policy(policy, by_policy[policy]) for policy in order],
    }


def compressed(report: dict[str, Any]) -> bytes:
    """Return a report as it is sent: gzip (§5.2), the same octets for the same report."""
    text = json.dumps(report, ensure_ascii=True, separators=(",", ":"))
    return gzip.compress(text.encode("ascii"), mtime=0)


def file_name(author: Author, domain: str, day: int, report_id: str) -> str:
    """Return the name of a report's file (§5.1)."""
    unique = "".join(char for char in report_id if char.isascii() and char.isalnum())
    times = f"{day * _DAY_S}!{(day + 1) * _DAY_S - 1}"
    return f"{author.domain}!{domain}!{times}!{unique}.json.gz"


def _policy(policy: AppliedPolicy, counted: Sequence[Counted]) -> dict[str, Any]:
    told: dict[str, Any] = {"policy-type": policy.kind.value}
    if policy.lines:
        told["policy-string"] = list(policy.lines)
    told["policy-domain"] = policy.domain
    if policy.kind is PolicyType.STS and policy.mx:
        told["mx-host"] = list(policy.mx)
    good = sum(one.count for one in counted if one.session.result is None)
    bad = sum(one.count for one in counted if one.session.result is not None)
    found: dict[str, Any] = {
        "policy": told,
        "summary": {
            "total-successful-session-count": good,
            "total-failure-session-count": bad,
        },
    }
    if bad:
        found["failure-details"] = list(_failures(counted))
    return found


def _failures(counted: Sequence[Counted]) -> Iterable[dict[str, Any]]:
    failed = [one for one in counted if one.session.result is not None]
    for one in sorted(failed, key=lambda one: (-one.count, str(one.session))):
        yield _failure(one.session, one.count)


def _failure(session: TlsSession, count: int) -> dict[str, Any]:
    """Return one entry; what is not known is left out."""
    assert session.result is not None
    told: dict[str, Any] = {
        "result-type": session.result.value,
        "sending-mta-ip": session.sending,
        "receiving-mx-hostname": session.host,
        "receiving-mx-helo": session.helo,
        "receiving-ip": session.address,
        "failed-session-count": count,
        "failure-reason-code": _COARSE if session.coarse else session.reason,
    }
    return {name: value for name, value in told.items() if value != ""}


def _moment(at_s: int) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
