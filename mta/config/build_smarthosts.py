"""Turn the smarthosts of routes into what ``mta.delivery`` and ``mta.shaping`` take."""

from collections.abc import Iterator

from mta.config.problems import Problem
from mta.config.route_sections import Route as RouteSection
from mta.config.route_sections import SmarthostTarget
from mta.config.secret import Secret
from mta.config.settings import Settings
from mta.config.token_section import TokenTarget
from mta.delivery.routes import Smarthost, Smarthosts
from mta.delivery.token import OAuth
from mta.mail.shape import Shape
from mta.shaping.rules import Rule
from mta.tls.certificates import CertificateFiles


def smarthosts(route: RouteSection, *, secrets: bool = True) -> Smarthost | Smarthosts:
    """Return where ``route`` leads, with passwords; ``ValueError`` if one cannot be read.

    Without ``secrets`` nothing is read, and there is no login.
    """
    found = tuple(_smarthost(one, n, secrets=secrets) for n, one in enumerate(route.smarthost))
    only, *more = found
    if more or only.per_second or only.per_day:
        return Smarthosts(route.name, found)
    return only


def _smarthost(one: SmarthostTarget, number: int, *, secrets: bool) -> Smarthost:
    password = one.password.reveal() if secrets and one.password is not None else ""
    return Smarthost(
        one.host,
        one.effective_port,
        one.tls,
        one.login if secrets else "",
        password,
        identity(one),
        number if one.preference is None else one.preference,
        one.per_second or 0,
        one.per_day or 0,
        one.mechanisms,
        _oauth(one.oauth) if secrets and one.oauth is not None else None,
    )


def _oauth(one: TokenTarget) -> OAuth:
    """Return where tokens come from, with our secret there."""
    return OAuth(
        one.token_url,
        one.client_id,
        one.client_secret.reveal() if one.client_secret is not None else "",
        one.refresh_token_file,
        one.scope,
        one.client_auth,
    )


def identity(one: SmarthostTarget) -> CertificateFiles | None:
    """Return the certificate that we show there, if any."""
    if one.client_certificate is None or one.client_key is None:
        return None
    return CertificateFiles(one.client_certificate, one.client_key)


def unreadable(settings: Settings) -> Iterator[Problem]:
    """Yield the secrets that cannot be read."""
    for route in settings.route:
        for number, one in enumerate(route.smarthost):
            place = f"[{number}]" if len(route.smarthost) > 1 else ""
            where = f'route["{route.name}"].smarthost{place}'
            for secret in _secrets(one):
                try:
                    secret.reveal()
                except ValueError as error:
                    yield Problem(settings.file, where, str(error))


def _secrets(one: SmarthostTarget) -> Iterator[Secret]:
    """Yield all that have to be there; a refresh token is read again whenever it is needed."""
    if one.password is not None:
        yield one.password
    if one.oauth is None:
        return
    if one.oauth.client_secret is not None:
        yield one.oauth.client_secret
    if (path := one.oauth.refresh_token_file) is not None:
        yield Secret(str(path), path)


def paces(settings: Settings) -> Iterator[Rule]:
    """Yield how fast routes may be whose smarthosts all have a budget by the second."""
    for route in settings.route:
        rates = [one.per_second for one in route.smarthost]
        if rates and all(rates):
            shape = Shape(messages_per_second=sum(rate or 0 for rate in rates))
            yield Rule(f"route {route.name}", shape, sites=(f"smarthost:{route.name}",))
