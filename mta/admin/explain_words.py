"""The answer of ``mta explain`` for people: from acceptance to the result, in that order."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, tzinfo

from mta.admin.explain_others import asked
from mta.admin.explain_records import RESULTS
from mta.admin.obstacles import Obstacle
from mta.admin.rehearsing import Explanation, Said, Walked
from mta.admin.render import address, span, visible
from mta.delivery.road import HostOnRoad, Road, Tried
from mta.delivery.routes import Lmtp, Maildir, Mx, Refuse, Route, Smarthost, Smarthosts
from mta.delivery.transcript import told
from mta.mail.outcome import Verdict
from mta.mail.security import DaneState, Level, Requirement, Skip
from mta.mail.shape import Shape
from mta.mail.site import words_of
from mta.security.facts import Sts, StsMode
from mta.tls.peer_certificate import PeerCertificate

_NAMES = 4  # of a certificate
_WORDS = {Verdict.DELIVERED: "goes", Verdict.DEFERRED: "waits", Verdict.FAILED: "fails"}


def lines(
    found: Explanation,
    obstacles: Sequence[Obstacle],
    status: int,
    now_ms: int,
    zone: tzinfo | None,
) -> Iterator[str]:
    """Yield the answer, line by line."""
    yield _headline(found)
    if found.refused is not None:
        no = found.refused
        yield _item("refused", f"at {no.stage}: {visible(no.reply)} ({visible(no.reason)})")
    elif found.said_to_client:
        said = dict(found.said_to_client)
        yield _item("accepted", f"at RCPT: {visible(said.get('RCPT', ''))}")
    for remark in found.remarks:
        yield _item("accepted", visible(remark))
    if found.left_out:
        yield _item("left out", f"{found.left_out} more addresses, which are not looked at here")
    if found.refused is None:
        yield _item("signed", ", ".join(_keys(found)) or f"no: {visible(found.unsigned)}")
    for name, text in asked(found):
        yield _item(name, visible(text))
    if found.held:
        release = "until 'mta queue release'"
        yield _item("held", f"{visible(found.held)}: kept {release}")
    for walked in found.walked:
        yield from _walked(walked, found, now_ms)
    if found.servers:
        yield _item("DNS", f"{', '.join(found.servers)}, {_resolver(found)}")
    for one in obstacles:
        yield _item(one.kind, visible(one.text))
    for note in (found.by.note, *found.notes) if found.by.note else found.notes:
        yield _item("note", visible(note))
    if found.timed_out:
        yield _item("time", f"not finished within {found.question.timeout_s:g} s (--timeout)")
    yield _item("result", RESULTS[status])


def _headline(found: Explanation) -> str:
    """Say what the question is, and who brings the message."""
    question, by = found.question, found.by
    words = f"mail from {address(question.sender)} to {address(question.address)}"
    words += f", login {visible(question.login)}" if question.login else ""
    words += f", {question.size} octets" if question.size else ""
    client = f"from {by.client}" if by.client else "from outside"
    return f"{words}; at listener {visible(by.listener.name)}, {client}"


def _item(name: str, text: str, depth: int = 1) -> str:
    head = f"{name}:" if name else ""
    return f"{'  ' * depth}{head:<{16 - 2 * depth}}{text}".rstrip()


def _keys(found: Explanation) -> Iterator[str]:
    for key in found.keys:
        yield f"d={key.domain} s={key.selector} ({key.algorithm.value})"


def _resolver(found: Explanation) -> str:
    if found.validation is None:
        return "not said to validate DNSSEC: no DANE"
    return visible(found.validation.alarm) or "validates DNSSEC"


def _walked(walked: Walked, found: Explanation, now_ms: int) -> Iterator[str]:
    road, site = walked.road, walked.site
    yield ", ".join(address(one.address) for one in road.recipients)
    if road.sender != found.sender:
        yield _item("sender told", address(road.sender))
    for route, why in walked.passed_over:
        yield _item("not route", f"{visible(route.name)}: {visible(why)}")
    yield _item("route", target_words(road.route))
    if isinstance(road.route.target, Mx | Smarthost | Smarthosts):
        hosts = f" ({', '.join(map(visible, site.hosts))})" if site.hosts else ""
        yield _item("site", f"{visible(site.name)}{hosts}, queued as {visible(walked.destination)}")
        yield from _shaping(walked)
        yield _item("EHLO", visible(road.outgoing.ehlo or road.settings.host_name))
        sources = (*road.outgoing.ipv4, *road.outgoing.ipv6)
        if sources:
            yield _item("from", f"{' or '.join(sources)}, a message always from the same one")
    for host in road.hosts:
        yield from _host(host, found, now_ms)
    yield from _further(road)
    for outcome in road.outcomes:
        where = f" at {visible(outcome.peer.host)}" if outcome.peer else ""
        words = f"{_WORDS[outcome.verdict]}{where}: {visible(outcome.reply)}"
        yield _item("outcome", words)
    transcript = next((one.transcript for one in road.outcomes), "")
    if transcript:
        yield _item("transcript", "")
        yield from ("    " + visible(line) for line in transcript.splitlines())


def _shaping(walked: Walked) -> Iterator[str]:
    """Say what shapes the site, for each address of ours where that is not one for all."""
    shapes = {one.shape for one in walked.from_sources} or {walked.site.shape}
    if len(shapes) == 1:
        words = "; ".join(shape_words(shapes.pop()))
        if words:
            yield _item("shaping", words)
        return
    for one in walked.from_sources:
        words = "; ".join(shape_words(one.shape)) or "none"
        yield _item("shaping", f"from {words_of(one.sources)}: {words}")


def _further(road: Road) -> Iterator[str]:
    if road.further:
        names = ", ".join(visible(f"{one.preference} {one.name}") for one in road.further)
        yield _item("further", f"{names} (not tried in one attempt)")


def target_words(route: Route) -> str:
    """Say where a route leads."""
    name, to = visible(route.name), route.target
    match to:
        case Mx():
            return f"{name}: to the mail exchangers, port {to.port}, tls {to.tls}"
        case Lmtp():
            where = f"{to.host}:{to.port}" if to.port else to.host
            return f"{name}: by LMTP to {visible(where)}"
        case Smarthost():
            login = ", with a login" if to.login else ""
            return f"{name}: to smarthost {visible(to.host)}:{to.port}, tls {to.tls}{login}"
        case Smarthosts():
            hosts = ", ".join(f"{visible(one.host)}:{one.port}" for one in to.hosts)
            return f"{name}: to smarthosts {hosts}"
        case Maildir():
            return f"{name}: into Maildir {visible(to.path)}"
    return f"{name}: {'refused' if isinstance(to, Refuse) else type(to).__name__.lower()}"


def shape_words(shape: Shape) -> Iterator[str]:
    """Say which entries shape a site, and how; nothing if none does."""
    if not shape.names:
        return
    yield ", ".join(map(visible, shape.names))
    said = {
        "connections": shape.connections,
        "messages/s": shape.messages_per_second,
        "messages/min": shape.messages_per_minute,
        "messages/h": shape.messages_per_hour,
        "messages/connection": shape.messages_per_connection,
        "recipients/transaction": shape.recipients_per_transaction,
        "TLS from": shape.tls_minimum or None,
    }
    for name, value in said.items():
        if value is not None:
            yield f"{name} {value}"


def _host(host: HostOnRoad, found: Explanation, now_ms: int) -> Iterator[str]:
    said = {(one.name, one.rdtype): one for one in found.said}
    mx = f"{host.found.preference} " if isinstance(host.found.preference, int) else ""
    signed = ""
    if found.validation is not None:
        signed = ", MX signed" if host.found.signed else ", MX not signed"
    alias = f", {visible(host.found.expanded)} by an alias" if host.found.expanded else ""
    where = f"{visible(host.name)}:{host.port}" if host.port else visible(host.name)
    yield _item("host", f"{mx}{where}{signed}{alias}")
    if host.trouble:
        yield _item("addresses", visible(host.trouble), 2)
    elif host.addresses != ("",):
        shown = [f"{one}{_signed(host.name, one, said, found)}" for one in host.addresses]
        if shown:
            yield _item("addresses", ", ".join(shown), 2)
    if host.dane is not None and host.dane.state is not DaneState.OFF:
        records = ", ".join(map(str, host.dane.records))
        text = f"{host.dane.state.value} {records or host.dane.text}".rstrip()
        answer = said.get((f"_{host.port}._tcp.{host.dane.base}", "TLSA"))
        if answer is not None and answer.ttl:
            text += f" (DNS keeps that for {span(answer.ttl * 1000)})"
        yield _item("DANE", visible(text), 2)
    if host.sts is not None:
        yield _item("MTA-STS", visible(_sts(host.sts)), 2)
    if host.required is not None:
        yield _item("TLS", visible(_required(host.required)), 2)
    for one in host.tried:
        yield from _tried(one, now_ms)


def _signed(host: str, one: str, said: dict[tuple[str, str], Said], found: Explanation) -> str:
    answer = said.get((host, "AAAA" if ":" in one else "A"))
    if answer is None or found.validation is None:
        return ""
    return " (signed)" if answer.authenticated else " (not signed)"


def _sts(sts: Sts) -> str:
    named = ", which names this host" if sts.matches else ", which does not name this host"
    text = f"{sts.text}{named if sts.mode is not StsMode.NONE else ''}" if sts.text else ""
    return "; ".join(part for part in (text, sts.unknown) if part)


def _required(required: Requirement | Skip) -> str:
    if isinstance(required, Skip):
        return f"not dialled: {required.why}"
    if required.level is Level.MAY and not required.why:
        text = "may: where it works, nothing asks for more"
    else:
        text = f"{required.level.value}: {required.why or required.source.value}"
    text += f", from {required.minimum}" if required.minimum else ""
    text += f", for {', '.join(required.names)}" if required.names else ""
    text += ", observed only" if required.observe else ""
    return text + (f"; {required.passed_over}" if required.passed_over else "")


def _tried(one: Tried, now_ms: int) -> Iterator[str]:
    if one.trouble:
        yield _item("no session", visible(f"{one.address}: {one.trouble}".lstrip(": ")), 2)
    else:
        source = f" from {one.source}" if one.source else ""
        yield _item("session", visible(f"{one.address}{source}: {told(one.tls)}".lstrip(": ")), 2)
        yield _item("offers", visible(" ".join(one.keywords)), 2)
    if one.certificate is not None:
        yield from _certificate(one.certificate, now_ms)


def _certificate(shown: PeerCertificate, now_ms: int) -> Iterator[str]:
    more = f" and {len(shown.names) - _NAMES} more" if len(shown.names) > _NAMES else ""
    names = ", ".join(shown.names[:_NAMES]) or "no host name"
    yield _item("cert", visible(f"{shown.subject}, for {names}{more}"), 2)
    left_ms = round((shown.until - datetime.fromtimestamp(now_ms / 1000, UTC)).total_seconds())
    when = f"{span(left_ms * 1000)} left" if left_ms > 0 else f"over since {span(-left_ms * 1000)}"
    yield _item("", visible(f"by {shown.issuer}, until {shown.until:%Y-%m-%d} ({when})"), 2)
    yield _item("", f"TLSA 3 1 1 {shown.key_fingerprint}", 2)
