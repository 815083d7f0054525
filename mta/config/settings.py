"""All settings: the tables together, and what is wrong between them."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import Field, PrivateAttr

from mta.config.address_sections import Addresses, Domain, Rewrite, Srs
from mta.config.dkim_section import Dkim
from mta.config.fields import table
from mta.config.file_values import CausesPath
from mta.config.incoming_sections import Dnsbl, Incoming
from mta.config.limit_sections import Limits, Requests, Submission, Timeouts
from mta.config.metrics_section import Metrics
from mta.config.milter_section import Milter
from mta.config.oauth_section import Oauth
from mta.config.policy_sections import Brake, Guard, Hold, Limit, Recipients, Sender
from mta.config.route_sections import Route
from mta.config.section import Conflict, Section
from mta.config.sections import Certificate, Dns, Listener, Log, Spool
from mta.config.sending_sections import Delivery, Queue, Reports, Retry
from mta.config.shaping_sections import ShapingEntry
from mta.config.tls_report_section import TlsReport
from mta.config.tls_sections import MtaSts, Tls, TlsPolicy
from mta.config.values import (
    FullName,
    NetworkValue,
    Workers,
)
from mta.config.workers import unshared

DEFAULT_LISTENERS = (
    {"name": "submissions", "endpoint": "465", "tls": "implicit", "auth": "required"},
    {"name": "submission", "endpoint": "587", "tls": "starttls", "auth": "required"},
)


class Settings(Section):
    """The whole file, checked; durations are ``timedelta``, sizes octets, paths absolute."""

    host_name: FullName = Field(
        description="Full name of this host: in the greeting, in EHLO, in Received.  Other servers"
        " look it up.",
        examples=["mail.example.org"],
    )
    trusted_networks: tuple[NetworkValue, ...] = Field(
        (),
        description="Clients from here may send without logging in, at listeners that do not"
        " require it.  Beware of 127.0.0.0/8 behind a proxy: everybody comes from there.",
        examples=[["127.0.0.0/8", "::1/128", "192.0.2.0/24"]],
    )
    causes_file: CausesPath = Field(
        "shipped",
        description='What replies of other servers mean, and what follows: the rules "shipped" with'
        " the program, or a file of [[rule]] tables, which are asked before them"
        " (docs/causes.rst).",
    )
    workers: Workers = Field(
        1,
        description="How many processes do the work.  With more than one, each is a whole relay on"
        " the same ports and the same spool, under a supervisor (docs/scaling.rst);"
        ' "auto": as many as this process may use cores.',
    )
    listener: tuple[Listener, ...] = Field(
        default_factory=lambda: DEFAULT_LISTENERS,  # type: ignore[arg-type]
        description=Listener.__doc__,
    )
    certificate: tuple[Certificate, ...] = Field((), description=Certificate.__doc__)
    spool: Spool = table()
    domain: tuple[Domain, ...] = Field((), description=Domain.__doc__)
    addresses: Addresses = table()
    rewrite: tuple[Rewrite, ...] = Field((), description=Rewrite.__doc__)
    srs: Srs = table()
    route: tuple[Route, ...] = Field((), description=Route.__doc__)
    shaping: tuple[ShapingEntry, ...] = Field((), description=ShapingEntry.__doc__)
    retry: Retry = table()
    queue: Queue = table()
    delivery: Delivery = table()
    reports: Reports = table()
    dkim: Dkim = table()
    dns: Dns = table()
    tls: Tls = table()
    mta_sts: MtaSts = table()
    tls_policy: tuple[TlsPolicy, ...] = Field((), description=TlsPolicy.__doc__)
    tls_report: TlsReport = table()
    oauth: Oauth = table()
    limits: Limits = table()
    requests: Requests = table()
    submission: Submission = table()
    sender: tuple[Sender, ...] = Field((), description=Sender.__doc__)
    limit: tuple[Limit, ...] = Field((), description=Limit.__doc__)
    hold: tuple[Hold, ...] = Field((), description=Hold.__doc__)
    recipients: Recipients = table()
    incoming: Incoming = table()
    dnsbl: tuple[Dnsbl, ...] = Field((), description=Dnsbl.__doc__)
    guard: Guard = table()
    brake: Brake = table()
    milter: tuple[Milter, ...] = Field((), description=Milter.__doc__)
    timeouts: Timeouts = table()
    log: Log = table()
    metrics: Metrics = table()

    _file: Path = PrivateAttr(Path("mta.toml"))
    _node: str = PrivateAttr("")  # what this process is called, if it is one of several workers

    @property
    def file(self) -> Path:
        """The file that the settings were read from."""
        return self._file

    def conflicts(self) -> Iterator[Conflict]:
        """Yield what is wrong between tables."""
        yield from _doubles("listener", "name", [one.name for one in self.listener])
        yield from _doubles("listener", "endpoint", [one.endpoint for one in self.listener])
        yield from _doubles("route", "name", [one.name for one in self.route])
        yield from _doubles("tls_policy", "name", [one.name for one in self.tls_policy])
        for rules, table_name in ((self.sender, "sender"), (self.hold, "hold")):
            yield from _doubles(table_name, "name", [one.name for one in rules])
        yield from _doubles("shaping", "name", [one.name for one in self.shaping])
        yield from _doubles("limit", "name", [one.name for one in self.limit])
        yield from _doubles("milter", "name", [one.name for one in self.milter])
        yield from _doubles("dnsbl", "zone", [one.zone for one in self.dnsbl])
        yield from _doubles("domain", "name", [one.name for one in self.domain])
        yield from _doubles("rewrite", "name", [one.name for one in self.rewrite])
        yield from self._domains()
        yield from self._certificates()
        yield from self._listeners_of_rules()
        yield from self._nobody()
        yield from self._clients()
        if self.workers != 1:
            yield from unshared([one.endpoint for one in self.listener], self.metrics.listen)
        if self.queue.attempt_limit < self.timeouts.outbound.total:
            yield Conflict(
                ("queue", "attempt_limit"),
                "must not be less than timeouts.outbound.total",
                ("timeouts",),
            )

    def _certificates(self) -> Iterator[Conflict]:
        secured = [f'"{one.name}"' for one in self.listener if one.tls != "none"]
        if secured and not self.certificate:
            yield Conflict(
                ("certificate",),
                f"is required for TLS at listener {', '.join(secured)}: name the files in"
                ' [[certificate]], or let "mta init" make a first one',
                ("listener",),
            )

    def _domains(self) -> Iterator[Conflict]:
        names = {one.name for one in self.domain}
        if self.srs.domain is not None and self.srs.domain not in names:
            text = f"{self.srs.domain} is no [[domain]]: bounces would not be taken"
            yield Conflict(("srs", "domain"), text, ("domain",))
        if (self.addresses.aliases or self.addresses.alias_files) and not names:
            yield Conflict(("addresses",), "aliases need a [[domain]]", ("domain",))

    def _clients(self) -> Iterator[Conflict]:
        for index, one in enumerate(self.listener):
            if one.client_certificate == "required" and self.tls.client_authorities is None:
                yield Conflict(
                    ("listener", index, "client_certificate"),
                    '"required" needs tls.client_authorities: nobody could show a good one',
                    ("tls",),
                )
            tokens = {"OAUTHBEARER", "XOAUTH2"}.intersection(one.mechanisms or ())
            if tokens and self.oauth.issuer is None:
                text = f"{' and '.join(sorted(tokens))} need an issuer in [oauth]"
                yield Conflict(("listener", index, "mechanisms"), text, ("oauth",))

    def _listeners_of_rules(self) -> Iterator[Conflict]:
        known = {one.name for one in self.listener}
        for table_name in ("sender", "limit", "hold", "milter"):
            for index, rule in enumerate(getattr(self, table_name)):
                for name in set(rule.listeners) - known:
                    text = f'there is no listener "{name}"'
                    yield Conflict((table_name, index, "listeners"), text, ("listener",))

    def _nobody(self) -> Iterator[Conflict]:
        for index, one in enumerate(self.listener):
            trusted = one.trusted_networks
            if self.domain and one.takes_incoming:
                continue
            if one.auth == "none" and not (self.trusted_networks if trusted is None else trusted):
                yield Conflict(
                    ("listener", index, "auth"),
                    '"none" without trusted_networks: nobody could send here',
                    ("trusted_networks",),
                )


def _doubles(table_name: str, key: str, values: Sequence[str]) -> Iterator[Conflict]:
    """Yield a conflict for each value that has been there before."""
    seen: Counter[str] = Counter()
    for index, value in enumerate(values):
        seen[value] += 1
        if seen[value] == 2:
            yield Conflict((table_name, index, key), f'"{value}" is used twice')


def _places() -> dict[str, str]:
    """Return for each key the table it belongs to, for people who wrote it into another."""
    places = dict.fromkeys(Settings.model_fields, "at the top, before the first [table]")
    for name, field in Settings.model_fields.items():
        for cls in filter(
            _is_section, (field.annotation, *getattr(field.annotation, "__args__", ()))
        ):
            shown = f"in [{name}]" if cls is field.annotation else f"in [[{name}]]"
            places |= {key: shown for key in cls.model_fields if key not in places}
    return places


def _is_section(annotation: object) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Section)


Section.places = _places()
