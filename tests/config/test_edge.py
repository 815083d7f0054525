"""Settings of the edge: who stands before a listener, what one client is."""

import ipaddress
from collections.abc import Callable

import pytest

from mta.config import Settings, build
from mta.config.build_policy import policy
from mta.inbound.settings import SubmissionSettings

HEAD = 'host_name = "relay.example.org"\n[[certificate]]\ncertificate = "c"\nkey = "k"\n'
LISTENER = '[[listener]]\nname = "a"\nendpoint = 465\n'

Configured = Callable[..., Settings]


def test_proxies(configured: Configured) -> None:
    """Nobody by default; else the lists of the listener."""
    (listener,) = build.listeners(configured(LISTENER))
    assert (listener.proxy, listener.xclient, listener.xclient_login) == ((), (), False)
    text = 'proxy = ["10.0.0.5", "2001:db8::/64"]\nxclient = ["127.0.0.1"]\nxclient_login = true\n'
    (listener,) = build.listeners(configured(LISTENER + text))
    networks = map(ipaddress.ip_network, ("10.0.0.5", "2001:db8::/64"))
    assert listener.proxy == tuple(networks)
    assert listener.xclient == (ipaddress.ip_network("127.0.0.1"),)
    assert listener.xclient_login


@pytest.mark.parametrize(
    ("text", "key", "words"),
    [
        ('proxy = ["0.0.0.0/0"]', "proxy", "must not be everybody"),
        ('xclient = ["127.0.0.1", "::/0"]', "xclient", "must not be everybody"),
        ("xclient_login = true", "xclient_login", "means nothing without xclient"),
        ('proxy = ["haproxy"]', "proxy", "is not a network"),
    ],
)
def test_what_is_wrong(
    problems: Callable[..., dict[str, str]], text: str, key: str, words: str
) -> None:
    """A list that lets everybody be anybody is refused, as is what means nothing."""
    found = problems(HEAD + LISTENER + text)
    ((where, said),) = found.items()
    assert f'listener["a"].{key}' in where
    assert words in said


def test_new_mail(configured: Configured) -> None:
    """What becomes of new mail reaches the inbound side; defaults are those of the package."""
    assert build.inbound_settings(configured()).submission == SubmissionSettings()
    text = """
        [limits]
        header_size = "64KiB"
        [submission]
        missing_from = "refuse"
        repeated_fields = "accept"
        long_lines = "refuse"
    """
    made = build.inbound_settings(configured(text))
    assert made.submission == SubmissionSettings(False, False, True)
    assert made.limits.header_size == 65_536


def test_a_header_has_to_fit(problems: Callable[..., dict[str, str]]) -> None:
    """A header that would not fit into the first chunk cannot be asked for."""
    found = problems(HEAD + '[limits]\nheader_size = "1MiB"\n')
    assert found == {"limits.header_size": "must lie between 8KiB and 192KiB"}


def test_one_client(configured: Configured) -> None:
    """The prefix of IPv6 clients reaches all that counts clients."""
    settings = configured("[limits]\nipv6_prefix = 56\n[timeouts.inbound]\nproxy = '2s'\n")
    limits = build.session_limits(settings)
    assert (limits.ipv6_prefix, limits.proxy_timeout_s) == (56, 2.0)
    made = policy(settings)
    assert made.limits.ipv6_prefix == 56
    assert made.guard is not None
    assert made.guard.ipv6_prefix == 56
