"""The tables of filters, and what becomes of them."""

import pytest
from twisted.internet.task import Clock

from mta.config.build_milters import milters
from mta.config.milter_section import client_endpoint
from mta.milter.settings import Mail, MilterSettings, WhenAway


def test_none(configured):
    """Without a table there is nothing to ask."""
    assert milters(configured(), Clock()) is None


def test_every_key_arrives(configured):
    """In the order of the file; defaults are those of the package."""
    made = milters(
        configured(
            """
            [[milter]]
            name = "one"
            endpoint = "inet:127.0.0.1:11332"

            [[milter]]
            name = "two"
            endpoint = "unix:/run/two.sock"
            listeners = ["submission"]
            mail = "submission"
            when_away = "hold"
            connect_timeout = "1s"
            command_timeout = "2s"
            content_timeout = "3s"
            end_timeout = "4s"
            max_body = "5MiB"
            """
        ),
        Clock(),
    )
    assert [one.settings for one in made._filters] == [
        MilterSettings("one", "tcp:127.0.0.1:11332"),
        MilterSettings(
            "two", "unix:/run/two.sock", ("submission",), Mail.SUBMISSION,
            1.0, 2.0, 3.0, 4.0, WhenAway.HOLD, 5 * 1024 * 1024,
        ),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("inet:8891@127.0.0.1", "tcp:127.0.0.1:8891"),
        ("inet:8891", "tcp:127.0.0.1:8891"),
        ("inet:filter.example.org:8891", "tcp:filter.example.org:8891"),
        ("inet:[::1]:8891", r"tcp:\:\:1:8891"),
        ("inet6:8891@[2001:db8::1]", r"tcp:2001\:db8\:\:1:8891"),
        ("inet6:8891", r"tcp:\:\:1:8891"),
        ("local:/run/x.sock", "unix:/run/x.sock"),
        ("unix:/run/a:b=c", r"unix:/run/a\:b\=c"),
        ("tls:filter.example.org:8891", "tls:filter.example.org:8891"),
    ],
)
def test_places(written, meant):
    """As libmilter, Postfix and Twisted write them."""
    assert client_endpoint(written) == meant


@pytest.mark.parametrize(
    "written", ["somewhere", "inet:", "inet:99999@x", "tcp:x", "", 8891, "a:b"]
)
def test_no_places(written):
    """What is wrong is said with an example."""
    with pytest.raises(ValueError, match=r"inet:127\.0\.0\.1:8891|between 1 and 65535"):
        client_endpoint(written)
