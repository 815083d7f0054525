"""Signatures on our own reports (RFC 6376): what we say in our name can be verified.

A report goes unsigned where there is no key for the host's own domain.
"""

from collections.abc import Sequence
from dataclasses import replace

from mta.dkim.rules import Rules
from mta.dkim.sign import Signing
from mta.dkim.signer import Signer
from mta.queue.bounce import Report


async def signed(made: Sequence[Report], signer: Signer) -> tuple[Report, ...]:
    """Return the reports with signatures on top; fails as ``Signer.sign`` does."""
    done = []
    for report in made:
        signing = _begin(report, signer.rules)
        done.append(report if signing is None else _with(report, await signer.sign(signing)))
    return tuple(done)


def signed_now(made: Sequence[Report], rules: Rules) -> tuple[Report, ...]:
    """Do the same at once, for the command line: a millisecond each."""
    begun = [(report, _begin(report, rules)) for report in made]
    return tuple(one if signing is None else _with(one, signing.finish()) for one, signing in begun)


def _begin(report: Report, rules: Rules) -> Signing | None:
    intake = report.intake
    begun = rules.begin(b"".join(intake.chunks), intake.envelope.created_ms / 1000, whole=True)
    return None if begun is None else begun[0]


def _with(report: Report, fields: bytes) -> Report:
    intake = report.intake
    content = fields + b"".join(intake.chunks)
    envelope = replace(intake.envelope, size=len(content))
    return replace(report, intake=replace(intake, envelope=envelope, chunks=(content,)))
