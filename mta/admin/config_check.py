"""Whether the files that a configuration names can be used: certificates, keys, secrets, logs.

An URL is not asked: what a configuration says can be right while a server is away.

It builds what the service would build from them, and tells what that raises.  Of what the
service writes, only the directories are looked at: nothing is made, and who asks need not be
the user that the service runs as.
"""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock

from mta.config import ConfigError, Problem, Settings, build, build_tls
from mta.config.build_addresses import addresses
from mta.config.build_causes import causes
from mta.config.build_outgoing import not_here
from mta.config.build_shaping import nobodys, shaping
from mta.config.build_tls_report import tls_report
from mta.delivery.maildir import base_of
from mta.dkim.rules import Rules
from mta.dkim.store import KeyUnusable
from mta.tls.certificates import CertificateUnusable, ServerCertificates, read_certificates


def check_files(settings: Settings, path: Path) -> tuple[list[Problem], list[str]]:
    """Return what is wrong, and what is only doubtful, such as a certificate about to expire."""
    problems: list[Problem] = []
    doubts: list[str] = []
    _try(problems, path, "", build.routes, settings)
    _try(problems, path, "delivery.shaping_file", shaping, settings)
    _try(problems, path, "", addresses, settings)
    _try(problems, path, "tls", build_tls.client_tls, settings)
    _try(problems, path, "causes_file", causes, settings)
    rules = _try(problems, path, "dkim.directory", build.signing_rules, settings)
    doubts += _unsigned_reports(settings, rules)
    if settings.tls.client_authorities is not None:
        place = settings.tls.client_authorities
        _try(problems, path, "tls.client_authorities", read_certificates, place)
    _try(problems, path, "oauth.authorities", lambda it: build.tokens(it, Clock()), settings)
    for number, files in enumerate(build.certificate_files(settings)):
        served = _try(problems, path, f"certificate[{number}]", ServerCertificates, [files])
        if served is not None:
            doubts += served.warnings
    problems += _nowhere(settings, path)
    doubts += build.unsigned(settings)
    doubts += _mailboxes(settings)
    doubts += not_here(settings)
    doubts += nobodys(settings)
    return problems, doubts


def _nowhere(settings: Settings, path: Path) -> Iterator[Problem]:
    """Yield the files that the service could not make, for want of a directory."""
    written = {"log.text": settings.log.text, "log.json_lines": settings.log.json_lines}
    url = settings.spool.url
    if url.startswith("sqlite"):
        written["spool.url"] = Path(url.partition("://")[2].partition("?")[0][1:])
    for key, file in written.items():
        if isinstance(file, Path) and not file.parent.is_dir():
            yield Problem(path, key, f"there is no directory {file.parent}")


def _mailboxes(settings: Settings) -> Iterator[str]:
    """Yield what routes to mailboxes need and is not there: mail for them would wait."""
    for route in settings.route:
        if route.maildir is not None and not base_of(route.maildir.path).is_dir():
            where = base_of(route.maildir.path)
            yield f'route["{route.name}"].maildir.path: there is no directory {where}'
        socket = route.lmtp.socket if route.lmtp is not None else None
        if socket is not None and not socket.is_socket():
            yield f'route["{route.name}"].lmtp.socket: there is no socket {socket}'


def _unsigned_reports(settings: Settings, rules: Rules | None) -> Iterator[str]:
    """Yield that reports on TLS cannot be signed: then none goes out by mail (RFC 8460 §3)."""
    how = tls_report(settings)
    if how is None or rules is None:
        return
    domain = how.author.domain
    if rules.begin(f"From: {how.sender}\r\n\r\n".encode(), time.time(), whole=True) is None:
        yield f"tls_report: there is no DKIM key for {domain}: mta dkim generate {domain}"


def _try(
    problems: list[Problem], path: Path, key: str, build_it: Callable[..., Any], argument: Any
) -> Any:
    try:
        return build_it(argument)
    except ConfigError as error:
        problems += error.problems
    except (CertificateUnusable, KeyUnusable) as error:
        problems.append(Problem(path, key, str(error)))
    return None
