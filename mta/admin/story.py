"""The life of one message, told: what happened when, where everybody stands, what comes next.

Made of what ``mta.spool.history`` returns, the same rows that the program itself acts
on.  Every text that comes from a peer or a client goes through ``visible``.
"""

from collections.abc import Iterator, Sequence
from datetime import tzinfo

from mta.admin.render import Column, address, moment, octets, pairs, say, seconds, span, table
from mta.admin.render import visible as v
from mta.mail.envelope import Envelope, MessageKind
from mta.mail.outcome import Outcome, Peer, Tls, TlsLevel
from mta.spool.history import Trace, TracedAttempt, TracedEvent, TracedRecipient
from mta.spool.schema import State

Line = tuple[str, str, str]  # moment, recipient, what

_TIMELINE = (Column("TIME"), Column("TO", style="cyan"), Column("WHAT"))
_STANDING = (Column("TO", style="cyan"), Column("STATE", style="bold"), Column("WHAT COMES NEXT"))
_LAST = (
    Column("TO", style="cyan"),
    Column("STATE", style="bold"),
    Column("ATTEMPTS", "right"),
    Column("NEXT"),
    Column("LAST REPLY"),
)


class Story:
    """One message, its reports, and the moment at which it is told."""

    def __init__(
        self, trace: Trace, reports: Sequence[Trace], now_ms: int, zone: tzinfo | None
    ) -> None:
        self._trace = trace
        self._reports = reports
        self._now_ms = now_ms
        self._zone = zone

    def tell(self) -> None:
        """Write everything: ``mta trace``."""
        self._head()
        say()
        table(_TIMELINE, list(self._timeline()))
        say()
        rows = [
            (address(one.recipient.address), self._state(one), self._prospect(one))
            for one in self._trace.recipients
        ]
        table(_STANDING, rows)

    def show(self) -> None:
        """Write how things stand, without the history: ``mta queue show``."""
        self._head(("arrived", f"{self._at(self._trace.envelope.created_ms)}, {self._accepted()}"))
        say()
        last = {one.outcome.recipient: one.outcome for one in self._trace.attempts}
        rows = [
            (
                address(one.recipient.address),
                self._state(one),
                str(one.recipient.attempts),
                self._next(one),
                self._held(one)
                or (_reply(last[one.recipient.number]) if one.recipient.number in last else "-"),
            )
            for one in self._trace.recipients
        ]
        table(_LAST, rows)

    def _at(self, at_ms: int) -> str:
        return moment(at_ms, self._zone)

    def _head(self, *more: tuple[str, str]) -> None:
        envelope = self._trace.envelope
        end = envelope.expires_ms
        waits = self._trace.finished_ms is None
        pairs(
            [
                ("message", envelope.id),
                ("from", address(envelope.sender)),
                ("size", f"{octets(envelope.size)} ({envelope.size} octets)"),
                ("message-id", v(envelope.message_id)),
                ("requires", ", ".join(envelope.requirements)),
                *more,
                ("report about", self._trace.parent or ""),
                ("reports", ", ".join(self._trace.reports)),
                *self._asked(),
                ("expires", f"{self._at(end)} ({self._ahead(end)})" if waits else ""),
                ("content", "" if self._trace.octets_kept else "no longer kept"),
            ]
        )

    def _asked(self) -> Iterator[tuple[str, str]]:
        """What the sender asked for beside delivery."""
        asked = self._trace.envelope.asked
        if asked.release_ms is not None:
            yield "released", f"{self._at(asked.release_ms)} ({self._ahead(asked.release_ms)})"
        by = asked.deliver_by
        if by is not None:
            then = "or back" if by.mode == "R" else "or a report"
            yield (
                "deliver by",
                f"{self._at(by.deadline_ms)} ({self._ahead(by.deadline_ms)}), {then}",
            )
        yield "priority", str(asked.priority) if asked.priority else ""
        yield "envelope id", v(asked.envid)
        yield "return", asked.ret
        told = ", ".join(
            f"{address(one.recipient.address)}: {v(one.recipient.notify)}"
            for one in self._trace.recipients
            if one.recipient.notify
        )
        yield "notify", told

    def _ahead(self, at_ms: int) -> str:
        left = at_ms - self._now_ms
        return f"in {span(left)}" if left > 0 else f"{span(-left)} ago"

    def _accepted(self) -> str:
        return accepted(self._trace.envelope)

    def _timeline(self) -> Iterator[Line]:
        """Yield all that has happened, in order; an entry may have further lines."""
        entries = [(self._trace.envelope.created_ms, ["", self._accepted()])]
        for attempt in self._trace.attempts:
            to = self._address(attempt.outcome.recipient)
            entries.append((attempt.started_ms, [to, *self._attempt(attempt)]))
        for event in self._trace.events:
            to = "" if event.recipient is None else self._address(event.recipient)
            entries.append((event.at_ms, [to, _event(event)]))
        for report in self._reports:
            entries.append((report.envelope.created_ms, ["", _report(report)]))
        if self._trace.finished_ms is not None:
            entries.append((self._trace.finished_ms, ["", "finished"]))
        for at_ms, (to, first, *more) in sorted(entries, key=lambda entry: entry[0]):
            yield self._at(at_ms), to, first
            for line in more:
                yield "", "", f"  {line}"

    def _address(self, number: int) -> str:
        for one in self._trace.recipients:
            if one.recipient.number == number:
                return address(one.recipient.address)
        return f"recipient {number}"

    def _attempt(self, attempt: TracedAttempt) -> Iterator[str]:
        outcome = attempt.outcome
        became = attempt.state.value if attempt.state is not State.QUEUED else "deferred"
        yield f"attempt {attempt.number} {became}: {_reply(outcome)}"
        if outcome.peer is not None:
            yield _peer(outcome.peer)
            yield from _required(outcome.peer.tls)
        if outcome.sender:
            yield f"sent with the sender {v(outcome.sender)}"
        yield (
            f"took {seconds((attempt.ended_ms - attempt.started_ms) / 1000)}:"
            f" connect {seconds(outcome.timing.connect)},"
            f" transmit {seconds(outcome.timing.transmit)}; by {v(attempt.node)}"
            f"{f', site {v(attempt.site)}' if attempt.site else ''}"
        )
        if outcome.cause:
            yield f"cause: {v(outcome.cause)}"
        if attempt.cause:
            yield v(attempt.cause)
        if outcome.maybe_delivered:
            yield "the line was lost after the final dot: may have been delivered, or twice"
        if attempt.state is State.QUEUED:
            yield f"next attempt {self._at(attempt.next_attempt_ms)}"

    def _state(self, one: TracedRecipient) -> str:
        return "active" if one.node and one.state is State.QUEUED else one.state.value

    def _held(self, one: TracedRecipient) -> str:
        """Say by which rule a recipient is held; "" if it is not, or by an operator's word."""
        if one.state is not State.HELD:
            return ""
        by = [
            event
            for event in self._trace.events
            if event.verb == "hold" and event.recipient in (None, one.recipient.number)
        ]
        return _event(by[-1]) if by and by[-1].text else ""

    def _next(self, one: TracedRecipient) -> str:
        if one.state is State.HELD:
            return "when released"
        if one.state is not State.QUEUED:
            return "-"
        if one.node:
            return "now"
        if one.restraint:
            return v(one.restraint.words)
        due = one.next_attempt_ms
        if due <= self._now_ms:
            return "as soon as possible"
        return f"{self._at(due)} ({self._ahead(due)})"

    def _prospect(self, one: TracedRecipient) -> str:
        """What comes next for one recipient, by which route, or since when nothing does."""
        route = f", by route {v(one.recipient.route)}" if one.recipient.route else ""
        return self._comes_next(one) + route

    def _comes_next(self, one: TracedRecipient) -> str:
        attempts = f"{one.recipient.attempts} attempt{'' if one.recipient.attempts == 1 else 's'}"
        if one.state is State.QUEUED and one.node:
            return f"attempt {one.recipient.attempts} is under way at {v(one.node)}"
        release_ms = self._trace.envelope.asked.release_ms
        if one.state is State.QUEUED and release_ms is not None and release_ms > self._now_ms:
            return (
                f"its sender has it held until {self._at(release_ms)} ({self._ahead(release_ms)})"
            )
        if one.state is State.QUEUED:
            return f"after {attempts}, next {self._next(one)}"
        under_way = f"; an attempt is under way at {v(one.node)}" if one.node else ""
        if one.state is State.HELD:
            held = self._held(one)
            why = f" ({held})" if held else ""
            return f"after {attempts}, waits for 'mta queue release'{why}{under_way}"
        when = "" if one.finished_ms is None else f" since {self._at(one.finished_ms)}"
        return f"nothing{when}, after {attempts}{under_way}"


def accepted(envelope: Envelope) -> str:
    """Say how a message came to us."""
    if envelope.kind is MessageKind.DSN:
        return "made here, as a report"
    origin = envelope.origin
    name = f" ({v(origin.client_name)})" if origin.client_name else ""
    parts = [
        f"accepted by {v(origin.listener)}" if origin.listener else "accepted",
        f"from {v(origin.client_address)}{name}" if origin.client_address else "",
        f"login {v(origin.login)}" if origin.login else "",
        v(origin.protocol),
        v(origin.tls) if origin.tls else "in the clear",
    ]
    return ", ".join(part for part in parts if part)


def _reply(outcome: Outcome) -> str:
    """Say what the peer answered, and to what; or what happened instead."""
    words = v(outcome.reply) or "no reply"
    if not outcome.command:
        return words
    return f"{words} ({'in reply to' if outcome.remote else 'at'} {v(outcome.command)})"


def _peer(peer: Peer) -> str:
    """Say who was talked to, and how privately."""
    where = v(peer.host) + (f"[{v(peer.address)}]" if peer.address else "")
    where += "" if peer.is_path else f":{peer.port}"
    tls = peer.tls
    if not peer.address and not peer.is_path and not tls.required:
        return f"{where}, not dialled"
    if tls.level is TlsLevel.NONE:
        private = f"in the clear: {v(tls.why)}" if tls.why else "in the clear"
    else:
        how = " ".join(v(part) for part in (tls.version, tls.cipher) if part)
        why = f", not verified: {v(tls.why)}" if tls.why else ""
        private = f"TLS {tls.level.value} ({how}){why}"
    if peer.source:
        where += f" from {v(peer.source)}"
    use = f", transaction {peer.use} of the connection" if peer.use > 1 else ""
    return f"{where}{use}" if peer.is_path else f"{where}, {private}{use}"


def _required(tls: Tls) -> Iterator[str]:
    """Say who asked for more privacy than goes without saying, and what was let pass."""
    if tls.required_why:
        yield f"TLS level {v(tls.required)} is required: {v(tls.required_why)}"
    if tls.observed:
        yield f"only observed: {v(tls.observed)}"


def _event(event: TracedEvent) -> str:
    text = f": {v(event.text)}" if event.text else ""
    return f"{v(event.verb)} by {v(event.who)}{text}"


def _report(report: Trace) -> str:
    to = ", ".join(
        f"{address(one.recipient.address)} ({one.state.value})" for one in report.recipients
    )
    return f"report {report.envelope.id} to {to}"
