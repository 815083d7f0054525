"""Smarthosts of a route: one or several, in their order, with budgets."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mta.config import ConfigError, Settings, build
from mta.config.build_shaping import shaping
from mta.config.running import as_text
from mta.config.show import show
from mta.delivery.routes import Smarthost, Smarthosts
from mta.delivery.token import OAuth
from mta.mail.site import alone

Configured = Callable[..., Settings]

SEVERAL = """
    [delivery]
    shaping_file = "none"
    [queue]
    down_min = "10s"
    down_max = "2m"
    [[route]]
    name = "out"
    [[route.smarthost]]
    host = "one.example"
    per_second = 5
    per_day = 1000
    [[route.smarthost]]
    host = "two.example"
    tls = "starttls"
    per_second = 2
"""
HEAD = 'host_name = "relay.example.org"\n[[certificate]]\ncertificate = "c"\nkey = "k"\n'


def test_several(configured: Configured) -> None:
    """The order of the tables is the preference; the route's pace is that of all together."""
    settings = configured(SEVERAL)
    found = build.delivery_settings(settings)
    assert found.routes.named("out").target == Smarthosts(
        "out",
        (
            Smarthost("one.example", 465, preference=0, per_second=5, per_day=1000),
            Smarthost("two.example", 587, "starttls", preference=1, per_second=2),
        ),
    )
    assert found.smarthost_down_s == (10.0, 120.0)
    site = shaping(settings).site(alone("smarthost:out", "smarthost:out"))
    assert site.shape.messages_per_second == 7


def test_one_table(configured: Configured) -> None:
    """A single table stays what it was; with a budget it is a list of one."""
    routes = build.routes(
        configured(
            '[[route]]\nname = "a"\nsmarthost = { host = "s.example" }\n'
            '[[route]]\nname = "b"\nsmarthost = { host = "s.example", per_day = 5 }\n'
        )
    )
    assert routes.named("a").target == Smarthost("s.example", 465)
    assert routes.named("b").target == Smarthosts("b", (Smarthost("s.example", 465, per_day=5),))


def test_mistakes(problems: Callable[..., dict[str, str]]) -> None:
    """Mistakes are named where they are, in a table or in a list of them."""
    found = problems(
        HEAD + '[[route]]\nname = "a"\nsmarthost = { host = "s.example", per_day = 0 }\n'
        '[[route]]\nname = "b"\nsmarthost = [{ host = "x.example" }, { port = 1 }]\n'
    )
    assert set(found) == {'route["a"].smarthost.per_day', 'route["b"].smarthost[1].host'}
    found = problems(
        HEAD + '[[route]]\nname = "b"\nsmarthost = [{ host = "x.example", preference = 1 },'
        ' { host = "x.example" }]\n'
    )
    assert "all of them need a preference" in found['route["b"].smarthost[1].preference']
    assert "there twice" in found['route["b"].smarthost[1].host']


TOKENS = """
    [[route]]
    name = "out"
    [route.smarthost]
    host = "smtp.example"
    login = "org@example.org"
    [route.smarthost.oauth]
    token_url = "https://login.example/token"
    client_id = "relay"
    client_secret_file = "secret"
    refresh_token_file = "refresh"
    scope = "https://mail.example/send offline_access"
"""


def test_tokens(configured: Configured, tmp_path: Path) -> None:
    """The secret is read, the refresh token's file is only named, and neither is shown."""
    (tmp_path / "secret").write_text("hush-hush\n")
    (tmp_path / "refresh").write_text("fresh-fresh\n")
    settings = configured(TOKENS)
    target = build.routes(settings).named("out").target
    assert isinstance(target, Smarthost)
    assert target.oauth == OAuth(
        "https://login.example/token",
        "relay",
        "hush-hush",
        tmp_path / "refresh",
        "https://mail.example/send offline_access",
    )
    for shown in (show(settings), repr(settings), repr(target), str(as_text(settings))):
        assert "hush-hush" not in shown
        assert "fresh-fresh" not in shown


def test_tokens_that_cannot_be_read(configured: Configured, tmp_path: Path) -> None:
    """Both files are missed at once, where the smarthost is named."""
    with pytest.raises(ConfigError) as error:
        build.routes(configured(TOKENS))
    assert [one.where for one in error.value.problems] == ['route["out"].smarthost'] * 2
    assert "refresh cannot be read" in str(error.value)


def test_token_mistakes(problems: Callable[..., dict[str, str]]) -> None:
    """Attack and mistakes: an endpoint without TLS; a password too; no login; no secret."""
    route = '[[route]]\nname = "r"\n'
    oauth = 'oauth = { token_url = "https://l.example/t", client_id = "c"'
    secret = f'{oauth}, client_secret_file = "s" }}'
    cases = {
        f'host = "h", login = "o", {secret.replace("https", "http")}': "must match ^https://",
        f'host = "h", login = "o", password_file = "p", {secret}': "oauth exclude each other",
        f'host = "h", {secret}': "needs login",
        f'host = "h", login = "o", {oauth} }}': "needs client_secret_file",
        f'host = "h", login = "o", mechanisms = ["PLAIN"], {secret}': "needs one of OAUTHBEARER",
        'host = "h", login = "o", password_file = "p", mechanisms = ["XOAUTH2"]': "without oauth",
        f'host = "h", tls = "none", login = "o", {secret}': "never sent in the clear",
    }
    for written, expected in cases.items():
        found = problems(f"{HEAD}{route}smarthost = {{ {written} }}\n")
        assert any(expected in text for text in found.values()), (written, found)
