"""Settings as the packages below take them."""

import ipaddress
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mta.causes.rules import Rules
from mta.config import ConfigError, Settings, build, build_tls
from mta.config.build_causes import shipped
from mta.delivery.routes import Discard, Lmtp, Maildir, Mx, Refuse, Smarthost
from mta.delivery.settings import DeliverySettings
from mta.delivery.timeouts import Timeouts
from mta.dkim.sign import SigningSettings
from mta.inbound.settings import (
    AuthMode,
    InboundSettings,
    ListenerSettings,
    RequestSettings,
    SessionLimits,
    TlsMode,
)
from mta.queue.limits import Limits
from mta.queue.retry import RetrySchedule
from mta.queue.settings import QueueSettings
from mta.smtp.mechanisms import PASSWORDS
from mta.tls.certificates import CertificateFiles

Configured = Callable[..., Settings]

NAME = "relay.example.org"


def test_defaults_are_those_of_the_packages(configured: Configured):
    """A default is decided in one place: the documentation shows what the code would do."""
    settings = configured()
    delivery = build.delivery_settings(settings)

    assert build.session_limits(settings) == SessionLimits()
    assert build.timeouts(settings) == Timeouts()
    assert build.queue_settings(settings) == QueueSettings(host_name=NAME, causes=Rules(shipped()))
    assert delivery == replace(
        DeliverySettings(host_name=NAME), routes=delivery.routes, shaping=delivery.shaping
    )
    assert build.inbound_settings(settings) == InboundSettings(
        host_name=NAME, listeners=build.listeners(settings)
    )
    assert build.signing_settings(settings) == SigningSettings()
    assert not build.signing_rules(settings)
    assert build.node_name(settings) == NAME
    assert build_tls.trust(settings) == "system"


def test_listeners(configured: Configured):
    """Modes, networks of the listener or of all, and which mail is new."""
    settings = configured(
        """
        [[listener]]
        name = "a"
        endpoint = 465
        [[listener]]
        name = "b"
        endpoint = "127.0.0.1:25"
        tls = "starttls"
        auth = "optional"
        trusted_networks = []
        [[listener]]
        name = "c"
        endpoint = 26
        tls = "none"
        auth = "none"
        submission = true
        """,
        top='trusted_networks = ["192.0.2.0/24"]',
    )
    top = (ipaddress.ip_network("192.0.2.0/24"),)

    assert tuple(replace(one, mechanisms=PASSWORDS) for one in build.listeners(settings)) == (
        ListenerSettings("a", "tcp:465", TlsMode.IMPLICIT, AuthMode.REQUIRED, top, True),
        ListenerSettings(
            "b",
            "tcp:25:interface=127.0.0.1",
            TlsMode.STARTTLS,
            AuthMode.OPTIONAL,
            (),
            False,
            incoming=True,
        ),
        ListenerSettings("c", "tcp:26", TlsMode.NONE, AuthMode.NONE, top, True, incoming=True),
    )


def test_routes(configured: Configured, tmp_path: Path):
    """In their order, each with its target; the last is the domain's own mail exchangers."""
    (tmp_path / "p").write_text("hunter2\n")
    routes = build.routes(
        configured(
            """
            [[route]]
            name = "bounces"
            sender_domains = ["<>"]
            recipient_domains = ["back.example"]
            discard = true
            [[route]]
            name = "closed"
            recipient_domains = ["Old.example", "*.old.example"]
            error = { code = 551, enhanced = "5.1.6", text = "Moved" }
            [[route]]
            name = "bed"
            recipient_domains = ["*.test"]
            mx = { port = 2525, tls = "verify", waivable = true }
            [[route]]
            name = "provider"
            sender_domains = ["news.example.org"]
            smarthost = { host = "S.example", tls = "starttls", login = "u", password_file = "p" }
            """
        )
    )

    def target(sender: str, domain: str) -> object:
        return routes.choose(sender, domain).target

    assert target("", "back.example") == Discard()
    assert target("a@b.example", "back.example") == Mx()
    assert target("", "old.example") == Refuse(551, "5.1.6", "Moved")
    assert target("", "x.old.example") == Refuse(551, "5.1.6", "Moved")
    assert target("", "mx.test") == Mx(2525, "verify", waivable=True)
    assert target("x@news.example.org", "example.net") == Smarthost(
        "s.example", 587, "starttls", "u", "hunter2"
    )
    assert routes.destination("x@news.example.org", "example.net") == "smarthost:provider"


def test_mailboxes(configured: Configured):
    """LMTP by socket and by TCP, and Maildirs; each destination is known by where it is."""
    routes = build.routes(
        configured(
            """
            [[route]]
            name = "store"
            recipient_domains = ["a.example"]
            lmtp = { socket = "/run/dovecot/lmtp" }
            [[route]]
            name = "far"
            recipient_domains = ["b.example"]
            lmtp = { host = "store.example", port = 24, tls = "starttls" }
            [[route]]
            name = "boxes"
            maildir = { path = "/var/mail/{domain}/{local}/", create = true, delimiter = "+" }
            """
        )
    )

    def target(domain: str) -> object:
        return routes.choose("", domain).target

    assert target("a.example") == Lmtp("/run/dovecot/lmtp", 0, "none")
    assert target("b.example") == Lmtp("store.example", 24, "starttls")
    assert target("c.example") == Maildir("/var/mail/{domain}/{local}", create=True, delimiter="+")
    assert [routes.destination("", domain) for domain in ("a.example", "b.example", "c")] == [
        "lmtp:/run/dovecot/lmtp",
        "lmtp:store.example:24",
        "maildir:boxes",
    ]


def test_smarthost_ports(configured: Configured):
    """The port follows from the TLS mode unless it is given."""
    for options, port in (
        ("", 465),
        (', tls = "starttls"', 587),
        (', tls = "none"', 25),
        (', tls = "none", port = 2525', 2525),
    ):
        text = f'[[route]]\nname = "r"\nsmarthost = {{ host = "h.example"{options} }}'
        target = build.routes(configured(text)).choose("", "example.net").target
        assert isinstance(target, Smarthost)
        assert target.port == port


def test_queue_settings(configured: Configured):
    """Every knob of the queue, in seconds and octets."""
    settings = configured(
        """
        [spool]
        retention = "30d"
        orphan_age = "2h"
        [retry]
        steps = ["1s", "90s"]
        jitter = 0
        expiry = "2h"
        delay_warning = "never"
        [queue]
        node = "relay-1"
        initial_concurrency = 1
        concurrency = 2
        total_concurrency = 3
        active_recipients = 40
        active_recipients_per_site = 4
        active_memory = "1MiB"
        down_after = 6
        down_min = "7s"
        down_max = "8s"
        attempt_limit = "2h"
        lease = "30s"
        [reports]
        postmaster = "postmaster@example.org"
        postmaster_copies = ["double", "failure"]
        return_size = "64KiB"
        """
    )

    assert build.queue_settings(settings) == QueueSettings(
        host_name=NAME,
        retry=RetrySchedule((1.0, 90.0), 0.0),
        expiry_s=7200.0,
        delay_warning_s=None,
        active_recipients=40,
        active_octets=1_048_576,
        limits=Limits(
            initial=1,
            concurrency=2,
            total=3,
            share=4,
            dead_after=6,
            dead_min_s=7.0,
            dead_max_s=8.0,
        ),
        attempt_limit_s=7200.0,
        lease_s=30.0,
        retention_s=2_592_000.0,
        orphan_age_s=7200.0,
        postmaster="postmaster@example.org",
        postmaster_copies=frozenset({"double", "failure"}),
        return_whole_octets=65_536,
        causes=Rules(shipped()),
    )
    assert build.inbound_settings(settings).expiry_ms == 7_200_000
    assert build.inbound_settings(settings).postmaster == "postmaster@example.org"
    assert build.node_name(settings) == "relay-1"


def test_timeouts_and_limits(configured: Configured):
    """A step's time-out reaches the step, and no other."""
    settings = configured(
        """
        [timeouts.inbound]
        command = "10s"
        [timeouts.outbound]
        data_termination = "250ms"
        [limits]
        message_size = "10MB"
        [delivery]
        idle = "1s"
        """
    )

    assert build.session_limits(settings) == SessionLimits(
        command_timeout_s=10.0, message_size=10_000_000
    )
    assert build.timeouts(settings) == Timeouts(data_termination=0.25)
    assert build.delivery_settings(settings).idle_s == 1.0


def test_certificates(configured: Configured, tmp_path: Path):
    """In their order; relative paths begin at the configuration."""
    settings = configured(
        '[[certificate]]\ncertificate = "/x/c.pem"\nkey = "k/2.pem"\n[tls]\ntrust = "ca.pem"'
    )

    assert build.certificate_files(settings) == (
        CertificateFiles(tmp_path / "c.pem", tmp_path / "k.pem"),
        CertificateFiles(Path("/x/c.pem"), tmp_path / "k" / "2.pem"),
    )
    assert build_tls.trust(settings) == tmp_path / "ca.pem"


def test_name_servers(configured: Configured, tmp_path: Path):
    """Those given, else the system's; no way to either is a problem at the key."""
    resolv_conf = tmp_path / "resolv.conf"
    resolv_conf.write_text("nameserver 192.0.2.1\nnameserver 2001:db8::1\n")
    given = configured('[dns]\nservers = ["127.0.0.1:5353", "[::1]:54"]')

    assert build.dns_servers(given, resolv_conf) == (("127.0.0.1", 5353), ("::1", 54))
    assert build.dns_servers(configured(), resolv_conf) == (("192.0.2.1", 53), ("2001:db8::1", 53))
    with pytest.raises(ConfigError) as caught:
        build.dns_servers(configured(), tmp_path)
    assert caught.value.problems[0].where == "dns.servers"


def test_signing(configured: Configured, tmp_path: Path):
    """Forms, additional fields and expiry; the directory lies beside the file."""
    settings = configured(
        """
        [dkim]
        domains = ["EXAMPLE.org", "bücher.example"]
        relayed = true
        canonicalization = "relaxed/simple"
        signed_fields = ["X-Campaign"]
        expire = "7d"
        activate_after = "3d"
        """
    )
    assert build.signing_settings(settings) == SigningSettings(
        "relaxed", "simple", ("X-Campaign",), 7 * 86_400, relayed=True
    )
    assert settings.dkim.domains == ("example.org", "xn--bcher-kva.example")
    assert settings.dkim.directory == tmp_path / "dkim"


def test_signing_refused(problems: Callable[..., dict[str, str]]):
    """What changes on the way is never signed, and a field has a name."""
    found = problems(
        'host_name = "relay.example.org"\n[[certificate]]\ncertificate = "c"\nkey = "k"\n'
        '[dkim]\nsigned_fields = ["Received", "two words", "X-Good"]\n'
        'canonicalization = "strict"\ndomains = ["-"]\n'
    )
    assert "never signed" in found["dkim.signed_fields[0]"]
    assert "not the name of a header field" in found["dkim.signed_fields[1]"]
    assert "relaxed/relaxed" in found["dkim.canonicalization"]
    assert "not a domain name" in found["dkim.domains[0]"]


def test_requests(configured: Configured):
    """What senders may ask for, switched off and bounded."""
    settings = configured(
        """
        [requests]
        future_release = "never"
        deliver_by = "2m"
        mt_priority = true
        highest_priority = 4
        """
    )
    assert build.request_settings(settings) == RequestSettings(0, 120, 4)
    settings = configured(
        """
        [requests]
        future_release = "1d"
        deliver_by = "never"
        mt_priority = false
        """
    )
    assert build.request_settings(settings) == RequestSettings(86_400, None, None)
