"""Source addresses, names and families, from the file to the routes."""

from collections.abc import Callable

from mta.config import Settings, build
from mta.config.build_outgoing import not_here
from mta.delivery.outgoing import USUAL, Outgoing

Configured = Callable[..., Settings]

HEAD = 'host_name = "relay.example.org"\n[[certificate]]\ncertificate = "c"\nkey = "k"\n'


def test_nothing_said(configured: Configured) -> None:
    """Without any of it all is as usual, and a route says nothing."""
    settings = build.delivery_settings(configured('[[route]]\nname = "r"\nmx = {}\n'))
    assert settings.outgoing is USUAL
    assert settings.routes.named("r").outgoing is None


def test_route_and_default(configured: Configured) -> None:
    """A route's own addresses take the place of all; its name and preference fall back."""
    found = build.delivery_settings(
        configured(
            """
            [delivery]
            source = ["192.0.2.5", "2001:DB8::5"]
            ehlo = "out.example.org"
            prefer = "ipv4"
            [[route]]
            name = "news"
            source = ["192.0.2.20", "192.0.2.21"]
            mx = {}
            [[route]]
            name = "six"
            families = ["ipv6"]
            ehlo = "six.example.org"
            smarthost = { host = "s.example", tls = "none" }
            """
        )
    )
    both = frozenset({"ipv4", "ipv6"})
    assert found.outgoing == Outgoing(
        ("192.0.2.5",), ("2001:db8::5",), "out.example.org", "ipv4", both
    )
    assert found.routes.named("news").outgoing == Outgoing(
        ("192.0.2.20", "192.0.2.21"), (), "out.example.org", "ipv4", frozenset({"ipv4"})
    )
    assert found.routes.named("six").outgoing == Outgoing(
        (), ("2001:db8::5",), "six.example.org", "ipv4", frozenset({"ipv6"})
    )


def test_mistakes(problems: Callable[..., dict[str, str]]) -> None:
    """What is no address, or of no use, is said."""
    found = problems(
        HEAD + '[delivery]\nsource = ["192.0.2.0/24", "0.0.0.0"]\n'
        '[[route]]\nname = "a"\nsource = ["2001:db8::5"]\nfamilies = ["ipv4"]\nmx = {}\n'
        '[[route]]\nname = "b"\nehlo = "x.example.org"\ndiscard = true\n'
        '[[route]]\nname = "c"\nprefer = "ipv4"\nfamilies = ["ipv6"]\nmx = {}\n'
    )
    assert "must be an IP address" in found["delivery.source[0]"]
    assert "no address that connections" in found["delivery.source[1]"]
    found = problems(
        HEAD + '[[route]]\nname = "a"\nsource = ["2001:db8::5"]\nfamilies = ["ipv4"]\nmx = {}\n'
        '[[route]]\nname = "b"\nehlo = "x.example.org"\ndiscard = true\n'
        '[[route]]\nname = "c"\nprefer = "ipv4"\nfamilies = ["ipv6"]\nmx = {}\n'
    )
    assert "is of a family that is not used" in found['route["a"].source[0]']
    assert "where nobody is dialled" in found['route["b"].ehlo']
    assert "not used" in found['route["c"].prefer']


def test_address_of_another_host(configured: Configured) -> None:
    """A source address that this host does not have is named."""
    found = list(
        not_here(
            configured(
                """
                [delivery]
                source = ["127.0.0.1"]
                [[route]]
                name = "news"
                source = ["192.0.2.20"]
                mx = {}
                """
            )
        )
    )
    assert found == ['route["news"].source: 192.0.2.20: this host does not have the address']
