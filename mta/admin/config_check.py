"""Whether the files that a configuration names can be used: certificates, keys, secrets.

It builds what the service would build from them, and tells what that raises.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from mta.config import ConfigError, Problem, Settings, build
from mta.tls.certificates import CertificateUnusable, ServerCertificates
from mta.tls.level import ClientTls


def check_files(settings: Settings, path: Path) -> tuple[list[Problem], list[str]]:
    """Return what is wrong, and what is only doubtful, such as a certificate about to expire."""
    problems: list[Problem] = []
    doubts: list[str] = []
    _try(problems, path, "", build.routes, settings)
    _try(problems, path, "tls.trust", ClientTls, build.trust(settings))
    for number, files in enumerate(build.certificate_files(settings)):
        served = _try(problems, path, f"certificate[{number}]", ServerCertificates, [files])
        if served is not None:
            doubts += served.warnings
    return problems, doubts


def _try(
    problems: list[Problem], path: Path, key: str, build_it: Callable[..., Any], argument: Any
) -> Any:
    try:
        return build_it(argument)
    except ConfigError as error:
        problems += error.problems
    except CertificateUnusable as error:
        problems.append(Problem(path, key, str(error)))
    return None
