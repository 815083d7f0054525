"""The tables of mail from outside, and what becomes of them."""

import ipaddress

import pytest

from mta.config.build_incoming import blocklists, dnsbl_test_s, verify_settings
from mta.config.problems import ConfigError
from mta.dnsbl.lists import Lists
from mta.dnsbl.zone import Blocklist
from mta.policy.decision import Action
from mta.verify.settings import VerifySettings


def test_default(configured):
    """All is looked at and nothing done about it, in the host's name; there is no list."""
    settings = configured()
    assert verify_settings(settings) == VerifySettings(settings.host_name)
    assert blocklists(settings) == ()
    assert (dnsbl_test_s(settings),) == Lists.__init__.__defaults__
    assert blocklists(configured('[[dnsbl]]\nzone = "bl.example"')) == (Blocklist("bl.example"),)


def test_every_key_arrives(configured):
    """What is set is what the packages get."""
    settings = configured(
        """
        [incoming]
        authserv_id = "Example.org"
        dmarc_reject = "refuse"
        dmarc_quarantine = "hold"
        signatures = 2
        timeout = "3s"
        dnsbl_test = "1m"
        [[dnsbl]]
        zone = "bl.example"
        action = "hold"
        codes = ["127.0.0.2", "127.0.0.4-127.0.0.7", "127.0.1.0/24"]
        text = "{address}: {zone}"
        """
    )
    assert verify_settings(settings) == VerifySettings(
        "example.org", True, True, True, Action.REFUSE, Action.HOLD, 2, 3.0
    )
    (made,) = blocklists(settings)
    assert (made.zone, made.action, made.text) == ("bl.example", Action.HOLD, "{address}: {zone}")
    assert [tuple(map(str, one)) for one in made.codes] == [
        ("127.0.0.2", "127.0.0.2"),
        ("127.0.0.4", "127.0.0.7"),
        ("127.0.1.0", "127.0.1.255"),
    ]
    assert ipaddress.IPv4Address("127.0.0.5") > made.codes[1][0]
    assert dnsbl_test_s(settings) == 60.0


def test_switched_off(configured):
    """Without results there is no verification at all."""
    assert verify_settings(configured("[incoming]\nauthentication_results = false")) is None
    made = verify_settings(configured("[incoming]\ndmarc = false\nspf = false"))
    assert made is not None
    assert (made.spf, made.dkim, made.dmarc) == (False, True, False)


@pytest.mark.parametrize(
    ("extra", "key", "text"),
    [
        ("[incoming]\nspf = false", "incoming.dmarc", "needs spf and dkim"),
        ('[incoming]\ntimeout = "1ms"', "incoming.timeout", "too short"),
        ('[incoming]\ndnsbl_test = "1s"', "incoming.dnsbl_test", "too short"),
        ('[[dnsbl]]\nzone = "bl.example"\ncodes = ["192.0.2.1"]', "codes", "must be answers"),
        ('[[dnsbl]]\nzone = "bl.example"\ncodes = ["127.0.0.9-127.0.0.2"]', "codes", "answers"),
        ('[[dnsbl]]\nzone = "bl.example"\ntext = "a\\r\\nb"', "text", "one line"),
        ('[[dnsbl]]\nzone = "bl.example"\ntext = "{0.x}"', "text", "can stand in braces"),
        ('[[dnsbl]]\nzone = "b.example"\n[[dnsbl]]\nzone = "b.example"', "zone", "used twice"),
    ],
)
def test_mistakes(configured, extra, key, text):
    """A mistake is told with its key, and in words."""
    with pytest.raises(ConfigError) as error:
        configured(extra)
    assert key in str(error.value)
    assert text in str(error.value)
