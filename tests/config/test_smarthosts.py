"""Smarthosts of a route: one or several, in their order, with budgets."""

from collections.abc import Callable

from mta.config import Settings, build
from mta.config.build_shaping import shaping
from mta.delivery.routes import Smarthost, Smarthosts
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
