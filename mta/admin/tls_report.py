"""``mta tls report``: what was counted of TLS by domain, and the reports on it (RFC 8460)."""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import click

from mta.admin.exits import Exit, Failure
from mta.admin.invocation import Invocation, pass_invocation
from mta.admin.render import Column, json_line, moment, note, say, table, visible
from mta.spool import tls_reports, tls_sessions
from mta.spool.tls_reports import DUE, Fate
from mta.spool.tls_sessions import DAY_MS, Sum

_EPOCH = date(1970, 1, 1)
_COLUMNS = (
    Column("DOMAIN", style="cyan"),
    Column("POLICY"),
    Column("SESSIONS", "right"),
    Column("RESULT"),
)


@click.group()
def tls() -> None:
    """See how private mail has travelled."""


def _day(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    """Read a day as the number of days since the epoch."""
    if value is None:
        return None
    now_day = ctx.ensure_object(Invocation).now_ms() // DAY_MS
    if value in ("today", "yesterday"):
        return now_day - (value == "yesterday")
    try:
        return (date.fromisoformat(value) - _EPOCH).days
    except ValueError:
        text = f'"{value}" is no day: write 2026-01-31, today or yesterday'
        raise click.BadParameter(text) from None


@tls.command()
@click.option("--day", metavar="DAY", callback=_day, help="2026-01-31, today or yesterday (UTC).")
@click.option("--domain", metavar="NAME", help="Only this domain of recipients.")
@click.option("--preview", metavar="DOMAIN", help="Print the report to DOMAIN as JSON instead.")
@click.option("--send", is_flag=True, help="Have reports on --day that were not sent tried now.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line for each domain.")
@pass_invocation
def report(
    invocation: Invocation,
    *,
    day: int | None,
    domain: str | None,
    preview: str | None,
    send: bool,
    as_json: bool,
) -> Exit:
    """Show how sessions with mail exchangers went, by domain, and the reports on them.

    Without --day: of today and yesterday.  Sessions are counted, and reports made, where
    [tls_report] has a contact.  Exit status 1 if nothing was counted.
    """
    today = invocation.now_ms() // DAY_MS
    if preview is not None:
        return _preview(invocation, today - 1 if day is None else day, preview.lower())
    if send:
        return _send(invocation, day, (domain or "").lower())
    days = [today, today - 1] if day is None else [day]
    found = False
    with invocation.reading() as conn:
        for one in days:
            sums = tls_sessions.sums(conn, one, domain.lower() if domain else None)
            fates = tls_reports.of_day(conn, one, (domain or "").lower())
            found = found or bool(sums)
            if as_json:
                for record in _records(one, sums, fates):
                    json_line(record)
            elif sums or fates:
                _draw(one, sums, fates, invocation)
    if not found and not as_json:
        note("nothing was counted")
    return Exit.DONE if found else Exit.NOTHING


def _preview(invocation: Invocation, day: int, domain: str) -> Exit:
    from mta.config.build_tls_report import tls_report  # noqa: PLC0415 - brings the service along
    from mta.tlsrpt.document import document  # noqa: PLC0415

    settings = tls_report(invocation.settings)
    if settings is None:
        text = "reports are off: [tls_report] needs enabled = true and a contact"
        raise Failure(Exit.CONFIG, text)
    with invocation.reading() as conn:
        counted = tls_sessions.of_domain(conn, day, domain)
        known = [one.report.report_id for one in tls_reports.of_day(conn, day, domain)]
    if not counted:
        note(f"nothing was counted of {visible(domain)} on {written(day)}")
        return Exit.NOTHING
    made = document(settings.author, day, known[0] if known else "preview", counted)
    say(json.dumps(made, indent=2))
    return Exit.DONE


def _send(invocation: Invocation, day: int | None, domain: str) -> Exit:
    if day is None:
        raise click.UsageError("--send needs --day.")
    now_ms = invocation.now_ms()
    if day >= now_ms // DAY_MS:
        raise click.UsageError(f"{written(day)} is not over (UTC): there are no reports on it yet.")
    with invocation.writing() as conn:
        number = tls_reports.again(conn, day, domain, now_ms)
    say(f"{number} reports on {written(day)} are due now; a running service makes them")
    return Exit.DONE if number else Exit.NOTHING


def written(day: int) -> str:
    """Return a day as it is written."""
    return (_EPOCH + timedelta(days=day)).isoformat()


def _draw(day: int, sums: list[Sum], fates: list[Fate], invocation: Invocation) -> None:
    say(f"{written(day)} (UTC):")
    table(
        _COLUMNS,
        [
            (
                visible(one.domain) or "(too many)",
                one.kind.value,
                str(one.count),
                one.result.value if one.result else "good",
            )
            for one in sums
        ],
    )
    for fate in fates:
        for line in _fate(fate, invocation):
            say(line)
    say()


def _fate(fate: Fate, invocation: Invocation) -> Iterator[str]:
    one = fate.report
    when = moment(one.next_ms if one.ended_ms is None else one.ended_ms, invocation.zone)
    why = f": {visible(one.text)}" if one.text else ""
    word = "due at" if one.state == DUE else f"{one.state} at"
    yield f"report to {visible(one.domain)}: {word} {when}{why}"
    for way in one.ways:
        mail = (
            f" ({', '.join(fate.mail)})" if way.uri[:7].lower() == "mailto:" and fate.mail else ""
        )
        yield f"    {visible(way.uri)}: {way.state}, {visible(way.text)}{mail}"


def _records(day: int, sums: list[Sum], fates: list[Fate]) -> Iterator[dict[str, Any]]:
    reports = {fate.report.domain: fate for fate in fates}
    for domain in sorted({one.domain for one in sums} | set(reports)):
        fate = reports.get(domain)
        yield {
            "day": written(day),
            "domain": domain,
            "sessions": [
                {"policy": one.kind.value, "result": one.result, "count": one.count}
                for one in sums
                if one.domain == domain
            ],
            "report": None if fate is None else _report(fate),
        }


def _report(fate: Fate) -> dict[str, Any]:
    one = fate.report
    ended = None
    if one.ended_ms is not None:
        ended = datetime.fromtimestamp(one.ended_ms // 1000, UTC).isoformat()
    return {
        "id": one.report_id,
        "state": one.state,
        "next_ms": one.next_ms if one.state == DUE else None,
        "ended": ended,
        "text": one.text,
        "ways": [{"uri": way.uri, "state": way.state, "text": way.text} for way in one.ways],
        "queue_id": one.queue_id or None,
        "mail": list(fate.mail),
    }
