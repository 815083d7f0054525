"""The answer of ``mta explain`` for programs."""

from collections.abc import Sequence
from typing import Any

from mta.admin import records
from mta.admin.obstacles import Obstacle
from mta.admin.rehearsing import Explanation, Walked
from mta.delivery.road import HostOnRoad, Tried
from mta.delivery.routes import Lmtp, Maildir, Route, Smarthost, Smarthosts
from mta.mail.outcome import Tls
from mta.mail.security import Dane, Requirement, Skip
from mta.mail.shape import Shape
from mta.security.facts import Sts
from mta.tls.peer_certificate import PeerCertificate

RESULTS = {0: "deliverable", 1: "not now", 2: "would fail"}


def record(found: Explanation, obstacles: Sequence[Obstacle], status: int) -> dict[str, Any]:
    """Return the whole answer."""
    refused = found.refused
    return {
        "address": found.question.address,
        "sender": found.sender,
        "login": found.question.login,
        "listener": found.by.listener.name,
        "client": found.by.client,
        "connected": found.question.connect,
        "result": RESULTS[status],
        "timed_out": found.timed_out,
        "accepted": [] if refused else found.remarks,
        "refused": None
        if refused is None
        else {
            "stage": refused.stage,
            "code": refused.code,
            "enhanced": refused.enhanced,
            "text": refused.text,
            "reason": refused.reason,
        },
        "held": found.held,
        **_others(found),
        "left_out": found.left_out,
        "signing": {
            "keys": [
                {"domain": k.domain, "selector": k.selector, "algorithm": k.algorithm.value}
                for k in found.keys
            ],
            "why_not": found.unsigned,
        },
        "recipients": [_walked(one) for one in found.walked],
        "obstacles": [
            {"kind": one.kind, "text": one.text, "blocks": one.blocks or one.refuses}
            for one in obstacles
        ],
        "dns": _dns(found),
        "notes": found.notes,
    }


def _others(found: Explanation) -> dict[str, Any]:
    """Return who has a say beside us, and whether it was asked."""
    return {
        "filters": [
            {
                "name": one.name,
                "endpoint": one.endpoint,
                "when_away": one.when_away.value,
                "asked": found.question.filters,
            }
            for one in found.filters
        ],
        "lists": [
            {
                "zone": one.zone,
                "action": one.action.value,
                "client": found.by.client,
                "asked": found.question.filters and bool(found.by.client),
            }
            for one in found.lists
        ],
    }


def _dns(found: Explanation) -> dict[str, Any]:
    """Return what name servers were asked, and what they said."""
    return {
        "servers": list(found.servers),
        "validating": found.validation is not None,
        "dane_off": found.validation.off if found.validation is not None else "",
        "answers": [
            {
                "name": one.name,
                "type": one.rdtype,
                "records": list(one.records),
                "authenticated": one.authenticated,
                "ttl": one.ttl,
                "error": one.trouble,
            }
            for one in found.said
        ],
    }


def target(route: Route) -> dict[str, Any]:
    """Return where a route leads."""
    to = route.target
    made: dict[str, Any] = {"name": route.name, "kind": type(to).__name__.lower()}
    if isinstance(to, Smarthost):
        made |= {"host": to.host, "port": to.port, "tls": to.tls, "login": bool(to.login)}
        if isinstance(to, Lmtp) and not to.port:
            del made["port"]
    elif isinstance(to, Smarthosts):
        made["hosts"] = [{"host": one.host, "port": one.port, "tls": one.tls} for one in to.hosts]
    elif isinstance(to, Maildir):
        made["path"] = to.path
    return made


def _walked(walked: Walked) -> dict[str, Any]:
    road, shape = walked.road, walked.shape
    settings = road.settings
    return {
        "recipients": [one.address for one in road.recipients],
        "sender": road.sender,
        "route": target(road.route),
        "passed_over": [{"name": r.name, "why": why} for r, why in walked.passed_over],
        "destination": walked.destination,
        "site": {
            "key": walked.site.key,
            "name": walked.site.name,
            "hosts": list(walked.site.hosts),
            "gathered": walked.site.gathered,
        },
        "shaping": _shape(shape)
        | {
            "messages_per_connection": settings.messages_per_connection,
            "recipients_per_transaction": settings.recipients_per_transaction,
        },
        "shaping_by_source": [
            {
                "sources": list(one.sources),
                "site_key": one.site.key,
                "shaping": _shape(one.shape)
                | {
                    "messages_per_connection": one.shape.messages_per_connection,
                    "recipients_per_transaction": one.shape.recipients_per_transaction,
                },
            }
            for one in walked.from_sources
            if len(walked.from_sources) > 1 or one.sources != ("",)
        ],
        "ehlo": road.outgoing.ehlo or settings.host_name,
        "sources": [*road.outgoing.ipv4, *road.outgoing.ipv6],
        "families": sorted(road.outgoing.families),
        "hosts": [_host(one) for one in road.hosts],
        "further_hosts": [one.name for one in road.further],
        "outcomes": [records.outcome(one) for one in road.outcomes],
        "transcript": next((one.transcript for one in road.outcomes), ""),
    }


def _shape(shape: Shape) -> dict[str, Any]:
    return {
        "names": list(shape.names),
        "connections": shape.connections,
        "messages_per_second": shape.messages_per_second,
        "messages_per_minute": shape.messages_per_minute,
        "messages_per_hour": shape.messages_per_hour,
        "tls_minimum": shape.tls_minimum,
    }


def _host(host: HostOnRoad) -> dict[str, Any]:
    return {
        "host": host.name,
        "port": host.port,
        "preference": host.found.preference,
        "signed": host.found.signed,
        "alias_of": host.found.expanded,
        "addresses": list(host.addresses),
        "error": host.trouble,
        "dane": _dane(host.dane),
        "sts": _sts(host.sts),
        "tls": _required(host.required),
        "sessions": [_tried(one) for one in host.tried],
    }


def _dane(dane: Dane | None) -> dict[str, Any] | None:
    if dane is None:
        return None
    return {
        "state": dane.state.value,
        "base": dane.base,
        "records": [
            f"{one.usage} {one.selector} {one.matching} {one.data.hex()}" for one in dane.records
        ],
        "text": dane.text,
    }


def _sts(sts: Sts | None) -> dict[str, Any] | None:
    if sts is None:
        return None
    return {
        "mode": sts.mode.value,
        "matches": sts.matches,
        "policy": list(sts.published.lines) if sts.published is not None else [],
        "text": sts.text,
        "error": sts.unknown,
    }


def _required(required: Requirement | Skip | None) -> dict[str, Any] | None:
    match required:
        case None:
            return None
        case Skip():
            text = {"why": required.why, "result": required.result.value}
            return {"dialled": False, "permanent": required.permanent} | text
    return {
        "dialled": True,
        "level": required.level.value,
        "source": required.source.value,
        "why": required.why,
        "names": list(required.names),
        "minimum": required.minimum,
        "observe": required.observe,
        "passed_over": required.passed_over,
    }


def _tried(tried: Tried) -> dict[str, Any]:
    return {
        "address": tried.address,
        "source": tried.source,
        "error": tried.trouble,
        "keywords": list(tried.keywords),
        "tls": _tls(tried.tls),
        "certificate": _certificate(tried.certificate),
    }


def _tls(tls: Tls) -> dict[str, Any]:
    return {
        "level": tls.level.value,
        "version": tls.version,
        "cipher": tls.cipher,
        "why": tls.why,
        "required": tls.required,
        "required_why": tls.required_why,
        "observed": tls.observed,
    }


def _certificate(shown: PeerCertificate | None) -> dict[str, Any] | None:
    if shown is None:
        return None
    return {
        "subject": shown.subject,
        "issuer": shown.issuer,
        "names": list(shown.names),
        "from": shown.from_.isoformat(),
        "until": shown.until.isoformat(),
        "sha256": shown.fingerprint,
        "key_sha256": shown.key_fingerprint,
        "chain": shown.chain,
    }
