"""Turn the settings into the values that the packages below take.

They know neither this file's keys nor pydantic; whatever they name differently is translated
here and nowhere else.  ``routes`` reads the smarthosts' passwords, ``dns_servers``
resolv.conf and ``signing_rules`` private keys, so these can fail.
"""

from datetime import timedelta
from pathlib import Path
from typing import Literal

from mta.auth.jwks import Clock, KeySet, KeysUnusable, from_file, from_https, parse, read
from mta.auth.tokens import TokenRules, Tokens
from mta.config.build_causes import causes
from mta.config.build_mailboxes import mailboxes
from mta.config.build_outgoing import outgoing, outgoing_of
from mta.config.build_shaping import shaping
from mta.config.build_smarthosts import smarthosts, unreadable
from mta.config.build_tls import security
from mta.config.problems import ConfigError, Problem
from mta.config.route_sections import Route as RouteSection
from mta.config.sections import Listener
from mta.config.settings import Settings
from mta.delivery.routes import Discard, Mx, Refuse, Route, Routes, Target
from mta.delivery.settings import DeliverySettings
from mta.delivery.timeouts import Timeouts
from mta.dkim.rules import Keyring, Rules
from mta.dkim.sign import SigningSettings
from mta.dkim.store import read_keys
from mta.dns.system import system_servers
from mta.inbound.settings import (
    AuthMode,
    InboundSettings,
    ListenerSettings,
    RequestSettings,
    SessionLimits,
    SubmissionSettings,
    TlsMode,
)
from mta.policy.addresses import Addresses
from mta.policy.matching import AddressPattern
from mta.policy.rewriting import Rewrites
from mta.queue.limits import Limits
from mta.queue.retry import RetrySchedule
from mta.queue.settings import QueueSettings
from mta.smtp.mechanisms import MECHANISMS
from mta.tls.certificates import CertificateFiles, Clients
from mta.tls.clients import ClientCertificates
from mta.tls.level import ClientTls

RESOLV_CONF = Path("/etc/resolv.conf")


def inbound_settings(settings: Settings, addresses: Addresses | None = None) -> InboundSettings:
    """Return what ``mta.inbound`` takes; ``addresses``: the tables, if there are any."""
    return InboundSettings(
        host_name=settings.host_name,
        listeners=listeners(settings),
        limits=session_limits(settings),
        requests=request_settings(settings),
        submission=submission_settings(settings),
        expiry_ms=_ms(settings.retry.expiry),
        authserv_id=settings.incoming.authserv_id or "",
        postmaster=settings.reports.postmaster,
        addresses=addresses,
    )


def listeners(settings: Settings) -> tuple[ListenerSettings, ...]:
    """Return the listeners, each with the networks that it trusts."""
    return tuple(_listener(settings, one) for one in settings.listener)


def _listener(settings: Settings, one: Listener) -> ListenerSettings:
    trusted = one.trusted_networks
    return ListenerSettings(
        name=one.name,
        endpoint=one.endpoint,
        tls=TlsMode(one.tls),
        auth=AuthMode(one.auth),
        trusted=settings.trusted_networks if trusted is None else trusted,
        incoming=one.takes_incoming,
        mechanisms=mechanisms(settings, one),
        client_certificates=ClientCertificates(one.client_certificate),
        submission=one.auth == "required" if one.submission is None else one.submission,
        proxy=one.proxy,
        xclient=one.xclient,
        xclient_login=one.xclient_login,
    )


def mechanisms(settings: Settings, one: Listener) -> tuple[str, ...]:
    """Return a listener's mechanisms of AUTH, without those that never succeed here."""
    useless = set()
    if settings.oauth.issuer is None:
        useless |= {"OAUTHBEARER", "XOAUTH2"}
    if one.client_certificate == "none":
        useless.add("EXTERNAL")
    return tuple(name for name in one.mechanisms or MECHANISMS if name not in useless)


def session_limits(settings: Settings) -> SessionLimits:
    """Return how much a client may take."""
    limits, times = settings.limits, settings.timeouts.inbound
    return SessionLimits(
        message_size=limits.message_size,
        recipients=limits.recipients,
        header_size=limits.header_size,
        hops=limits.hops,
        connections=limits.connections,
        connections_per_client=limits.connections_per_client,
        ipv6_prefix=limits.ipv6_prefix,
        errors=limits.errors,
        idle_commands=limits.idle_commands,
        proxy_timeout_s=_s(times.proxy),
        handshake_timeout_s=_s(times.handshake),
        command_timeout_s=_s(times.command),
        data_timeout_s=_s(times.data),
        data_rate=limits.data_rate,
        memory=limits.memory,
    )


def request_settings(settings: Settings) -> RequestSettings:
    """Return what senders may ask for."""
    requests = settings.requests
    hold, by = requests.future_release, requests.deliver_by
    return RequestSettings(
        future_release_s=0 if hold is None else int(_s(hold)),
        deliver_by_s=None if by is None else int(_s(by)),
        priority=requests.highest_priority if requests.mt_priority else None,
    )


def submission_settings(settings: Settings) -> SubmissionSettings:
    """Return what becomes of new mail that is not as it should be."""
    submission = settings.submission
    return SubmissionSettings(
        add_author=submission.missing_from == "add",
        refuse_repeated=submission.repeated_fields == "refuse",
        qualified=submission.unqualified == "refuse",
        refuse_long_lines=submission.long_lines == "refuse",
    )


def certificate_files(settings: Settings) -> tuple[CertificateFiles, ...]:
    """Return the certificates for listeners; the first is the default."""
    return tuple(CertificateFiles(one.certificate, one.key) for one in settings.certificate)


def clients(settings: Settings) -> Clients:
    """Return what listeners want of their clients' certificates."""
    modes = {ClientCertificates(one.client_certificate) for one in settings.listener}
    return Clients(frozenset(modes), settings.tls.client_authorities)


def tokens(settings: Settings, reactor: Clock) -> Tokens | None:
    """Return what checks bearer tokens, if anything does.

    Raises ``ConfigError`` for a file that has no usable keys; an URL is fetched when the first
    token comes.
    """
    oauth = settings.oauth
    if oauth.issuer is None or oauth.audience is None or oauth.jwks is None:
        return None
    rules = TokenRules(oauth.issuer, oauth.audience, oauth.login_claim, _s(oauth.leeway))
    if isinstance(oauth.jwks, str):
        fetch = from_https(reactor, oauth.jwks, ClientTls(_authorities(oauth.authorities)))
    else:
        try:
            parse(read(oauth.jwks))
        except KeysUnusable as error:
            raise ConfigError([Problem(settings.file, "oauth.jwks", str(error))]) from error
        fetch = from_file(oauth.jwks)
    return Tokens(rules, KeySet(fetch, reactor.seconds, refresh_s=_s(oauth.refresh)))


def _authorities(configured: str | Path) -> Literal["system"] | Path:
    return configured if isinstance(configured, Path) else "system"


def delivery_settings(settings: Settings, addresses: Addresses | None = None) -> DeliverySettings:
    """Return what ``mta.delivery`` takes; ``ConfigError`` if a password cannot be had."""
    delivery = settings.delivery
    return DeliverySettings(
        host_name=settings.host_name,
        shaping=shaping(settings),
        routes=routes(settings),
        addresses=addresses,
        outgoing=outgoing(delivery),
        timeouts=timeouts(settings),
        max_hosts=delivery.max_hosts,
        max_addresses=delivery.max_addresses,
        max_sessions=delivery.max_sessions,
        idle_s=_s(delivery.idle),
        idle_connections=delivery.idle_connections,
        messages_per_connection=delivery.messages_per_connection,
        recipients_per_transaction=delivery.recipients_per_transaction,
        security=security(settings),
        transcripts=settings.spool.transcripts,
        smarthost_down_s=(_s(settings.queue.down_min), _s(settings.queue.down_max)),
    )


def routes(settings: Settings) -> Routes:
    """Return the routes, with passwords; ``ConfigError`` names all that cannot be read."""
    problems = list(unreadable(settings))
    if problems:
        raise ConfigError(problems)
    return _routes(settings, secrets=True)


def visible_routes(settings: Settings) -> Routes:
    """Return the routes for who only looks at where mail goes: no secret is read."""
    return _routes(settings, secrets=False)


def _routes(settings: Settings, *, secrets: bool) -> Routes:
    return Routes(
        tuple(
            Route(
                one.name,
                _target(one, secrets=secrets),
                one.recipient_domains,
                one.sender_domains,
                Rewrites.of(one.rewrite_sender.items()) if one.rewrite_sender else None,
                one.verp_delimiters if one.verp else "",
                tuple(map(AddressPattern.of, one.verp_senders)),
                outgoing_of(one, settings.delivery),
                one.on_unknown,
            )
            for one in settings.route
        )
    )


def _target(route: RouteSection, *, secrets: bool) -> Target:
    if route.mx is not None:
        return Mx(route.mx.port, route.mx.tls, route.mx.waivable)
    if route.smarthost:
        return smarthosts(route, secrets=secrets)
    if route.error is not None:
        return Refuse(route.error.code, route.error.enhanced, route.error.text)
    return mailboxes(route) or Discard()


def timeouts(settings: Settings) -> Timeouts:
    """Return the time-outs of outbound sessions."""
    times = settings.timeouts.outbound
    return Timeouts(**{name: _s(getattr(times, name)) for name in type(times).model_fields})


def queue_settings(settings: Settings, addresses: Addresses | None = None) -> QueueSettings:
    """Return what ``mta.queue`` takes; ``addresses``: the tables, if there are any."""
    queue, retry, reports = settings.queue, settings.retry, settings.reports
    warning = retry.delay_warning
    return QueueSettings(
        host_name=settings.host_name,
        retry=RetrySchedule(tuple(map(_s, retry.steps)), retry.jitter),
        expiry_s=_s(retry.expiry),
        delay_warning_s=None if warning is None else _s(warning),
        active_recipients=queue.active_recipients,
        active_octets=queue.active_memory,
        limits=Limits(
            initial=queue.initial_concurrency,
            concurrency=queue.concurrency,
            total=queue.total_concurrency,
            share=queue.active_recipients_per_site,
            dead_after=queue.down_after,
            dead_min_s=_s(queue.down_min),
            dead_max_s=_s(queue.down_max),
        ),
        attempt_limit_s=_s(queue.attempt_limit),
        lease_s=_s(queue.lease),
        retention_s=_s(settings.spool.retention),
        transcript_retention_s=_s(settings.spool.transcript_retention),
        returned_retention_s=_s(settings.spool.returned_retention),
        returned_octets=settings.spool.returned_size,
        orphan_age_s=_s(settings.spool.orphan_age),
        tls_report_retention_s=_s(settings.tls_report.retention),
        postmaster=reports.postmaster,
        postmaster_copies=frozenset(reports.postmaster_copies),
        return_whole_octets=reports.return_size,
        return_full_octets=reports.return_full_size,
        addresses=None if addresses is None else addresses.local,
        causes=causes(settings),
    )


def signing_settings(settings: Settings) -> SigningSettings:
    """Return how mail is signed."""
    dkim = settings.dkim
    header_form, body_form = dkim.canonicalization.split("/")
    return SigningSettings(
        header_form=header_form,  # type: ignore[arg-type]  # the section knows four values
        body_form=body_form,  # type: ignore[arg-type]
        additional=dkim.signed_fields,
        expire_s=None if dkim.expire is None else round(_s(dkim.expire)),
        relayed=dkim.relayed,
    )


def signing_rules(settings: Settings) -> Rules:
    """Read the keys; ``KeyUnusable`` if one of them must not be used."""
    keyring = Keyring(read_keys(settings.dkim.directory), settings.dkim.domains)
    return Rules(keyring, signing_settings(settings))


def unsigned(settings: Settings) -> tuple[str, ...]:
    """Return why nothing is signed although the configuration names a directory of keys."""
    dkim = settings.dkim
    if "directory" not in dkim.model_fields_set or dkim.directory.is_dir():
        return ()
    return (f"dkim.directory: there is no directory {dkim.directory}: no mail is signed",)


def node_name(settings: Settings) -> str:
    """Return the name of this process among those that share the spool."""
    return settings._node or settings.queue.node or settings.host_name


def dns_servers(settings: Settings, resolv_conf: Path = RESOLV_CONF) -> tuple[tuple[str, int], ...]:
    """Return address and port of each name server; without any, the system's."""
    if settings.dns.servers:
        return settings.dns.servers
    try:
        return system_servers(resolv_conf)
    except OSError as error:
        text = f"is not set, and {resolv_conf} cannot be read: {error.strerror}"
        raise ConfigError([Problem(settings.file, "dns.servers", text)]) from None


def _s(duration: timedelta) -> float:
    return duration.total_seconds()


def _ms(duration: timedelta) -> int:
    return round(duration.total_seconds() * 1000)
