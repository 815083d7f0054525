"""Reading the file: every error at once, each with its path and what was probably meant."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from mta.config import ConfigError, Problem, Settings, load

GOOD = 'host_name = "relay.example.org"\n[[certificate]]\ncertificate = "c"\nkey = "k"\n'

Problems = Callable[..., dict[str, str]]
Configured = Callable[..., Settings]


def test_only_a_host_name_and_a_certificate(configured: Configured, tmp_path: Path):
    """What is needed is little; the rest works as it stands."""
    settings = configured()

    assert [(one.endpoint, one.tls, one.auth) for one in settings.listener] == [
        ("tcp:465", "implicit", "required"),
        ("tcp:587", "starttls", "required"),
    ]
    assert settings.spool.url == f"sqlite:///{tmp_path}/mta.sqlite"
    assert settings.certificate[0].key == tmp_path / "k.pem"
    assert settings.retry.expiry == timedelta(days=5)
    assert settings.trusted_networks == ()
    assert settings.file == tmp_path / "mta.toml"


def test_without_a_certificate_it_says_what_to_run(problems: Problems):
    """A host name alone is one step short of working."""
    found = problems('host_name = "relay.example.org"')

    assert list(found) == ["certificate"]
    assert '"mta init"' in found["certificate"]
    assert '"submissions", "submission"' in found["certificate"]


def test_everything_at_once(problems: Problems):
    """Types, units, unknown keys and contradictions, in one run."""
    found = problems(
        """
        host_nam = "relay"
        trusted_networks = ["10.0.0.1/8", "::1", "bogus"]
        [spool]
        url = "mysql://root:hunter2@x/y"
        retention = 7
        trusted_networks = []
        [[listener]]
        name = "a"
        endpoint = "tpc:465"
        tls = "implict"
        [[listener]]
        name = "b"
        endpoint = 25
        tls = "none"
        auth = "optional"
        [[listener]]
        name = "c"
        endpoint = 465
        [[route]]
        name = "x"
        mx = { prot = 25 }
        [[route]]
        name = "y"
        smarthost = { host = "h.example", password = "hunter2", login = "u" }
        [[route]]
        recipient_domains = "example.org"
        discard = true
        error = { code = 200 }
        [retry]
        steps = ["5m", "5 parsecs"]
        expiry = "4h"
        [limits]
        connections = 10
        recipients = "many"
        [timeouts.outbound]
        mial = "3m"
        [queue]
        concurrency = 1
        """
    )

    expected = {
        "host_name": "is required",
        "host_nam": 'unknown key (did you mean "host_name"?)',
        "trusted_networks[0]": 'did you mean "10.0.0.0/8"?',
        "trusted_networks[2]": "is not a network",
        "spool.url": '"mysql:" is not supported',
        "spool.retention": '"7s", "7m", "7h"',
        "spool.trusted_networks": "it belongs at the top, before the first [table]",
        'listener["a"].endpoint': "Unknown endpoint type: 'tpc'",
        'listener["a"].tls': '(did you mean "implicit"?)',
        'listener["b"].auth': "a password is never asked for in the clear",
        "certificate": 'listener "c"',
        'route["x"].mx.prot': '(did you mean "port"?)',
        'route["y"].smarthost.password': '(did you mean "password_file"?)',
        'route["y"].smarthost.login': "needs password_file, password_credential or oauth",
        "route[2].name": "is required",
        "route[2].recipient_domains": "must be a list",
        "route[2].error.code": "must be at least 500",
        "retry.steps[1]": '"5 parsecs" is no duration',
        "retry.delay_warning": "must be shorter than expiry",
        "limits.recipients": "must be a whole number",
        "limits.connections_per_client": "must not be more than connections",
        "timeouts.outbound.mial": 'unknown key (did you mean "mail"?)',
        "queue.initial_concurrency": "must not be more than concurrency",
    }
    assert set(found) == set(expected)
    for where, text in expected.items():
        assert text in found[where], where
    assert "hunter2" not in repr(found)


@pytest.mark.parametrize(
    ("text", "where", "says"),
    [
        ("[[listener]\n", ":5:", "TOML syntax"),
        ("a = 1\na = 2\n", ":6:", "TOML syntax"),
        ("x = \n", ":5:", "TOML syntax"),
    ],
)
def test_syntax_errors_have_line_and_column(problems: Problems, text: str, where: str, says: str):
    """TOML that cannot be read says where."""
    ((place, message),) = problems(GOOD + text).items()

    assert place.startswith(where)
    assert says in message


def test_not_utf_8(problems: Problems):
    """A file in Latin-1 says in which line."""
    assert problems(GOOD.encode() + b"# Gr\xfc\xdfe\n") == {":5": "is not UTF-8"}


def test_no_file(tmp_path: Path):
    """A file that is not there is one clear line."""
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "mta.toml", {})
    assert str(caught.value) == f"{tmp_path}/mta.toml: cannot be read: No such file or directory"


def test_the_error_is_its_list():
    """Text for people: one line each, in the form that editors and compilers know."""
    file = Path("/etc/mta/mta.toml")
    error = ConfigError(
        [
            Problem(file, "retry.expiry", "is required"),
            Problem(file, ":3:5", "Invalid value"),
            Problem(file, "", "cannot be read"),
        ]
    )
    assert str(error).splitlines() == [
        "/etc/mta/mta.toml: retry.expiry: is required",
        "/etc/mta/mta.toml:3:5: Invalid value",
        "/etc/mta/mta.toml: cannot be read",
    ]


@pytest.mark.parametrize(
    ("text", "where", "says"),
    [
        ('[spool]\nurl = "postgres://x/y"', "spool.url", 'did you mean "postgresql"?'),
        ('[spool]\nurl = "sqlite://x.sqlite"', "spool.url", "three slashes"),
        ('[spool]\nurl = "sqlite://"', "spool.url", "three slashes"),
        ('[spool]\nurl = "sqlite:///:memory:"', "spool.url", "must name a file"),
        ('[spool]\nurl = "postgresql://m:hu@sh@db/m"', "spool.url", "%40 for each @"),
        ('[spool]\nurl = "postgresql://m:hush@db1:hush,db2/m"', "spool.url", "HOST:PORT"),
        ('[spool]\npassword_file = "p"', "spool.password_file", "SQLite has no password"),
        ("[spool]\nurl = 5", "spool.url", "must be a text"),
        ("spool = 5", "spool", "must be a table"),
        ('[listener]\nname = "a"', "listener", "must be a list"),
        ("[log]\ntext = true", "log.text", "must be a text"),
        ('[log]\ntext = "sylog"', "log.text", '"stderr", "syslog"'),
        ('[log]\njson_lines = "stderr"', "log.json_lines", "must not go where text goes"),
        ('[log]\njson_lines = "syslog"', "log.json_lines", "cannot go to syslog"),
        ("[dns]\nvalidating = 1", "dns.validating", "must be true or false"),
        ("[dns]\nattempts = 0", "dns.attempts", "must be at least 1"),
        ("[dns]\nattempts = 2.5", "dns.attempts", "must be a whole number"),
        ("[retry]\nsteps = []", "retry.steps", "at least 1 element"),
        ("[retry]\njitter = 1.0", "retry.jitter", "must be less than 1"),
        ('[retry]\nexpiry = "1m"\ndelay_warning = "never"', "retry.steps[0]", "nothing would"),
        ('[retry]\ndelay_warning = "nver"', "retry.delay_warning", "no duration"),
        ('[queue]\nlease = "1s"', "queue.lease", "at least"),
        ('[queue]\nattempt_limit = "5m"', "queue.attempt_limit", "timeouts.outbound.total"),
        ('[limits]\nmessage_size = "1KiB"', "limits.message_size", "at least 64KiB"),
        ('[reports]\npostmaster_copies = ["double"]', "reports.postmaster_copies", "an address"),
        ("[tls]\nminimum = 'TLSv1.1'", "tls.minimum", 'must be "TLSv1.2" or "TLSv1.3"'),
        ("[retry]\nfoo = 1", "retry.foo", "unknown key"),
        ("[spool]\njitter = 1", "spool.jitter", "(it belongs in [retry])"),
        ('[timeouts]\nmail = "5m"', "timeouts.mail", "unknown key"),
    ],
)
def test_one_error(problems: Problems, text: str, where: str, says: str):
    """Each kind of mistake, alone: one problem, at its key, in words."""
    top, table = ("", text) if text.startswith("[") else (text + "\n", "")
    found = problems(top + GOOD + table)

    assert list(found) == [where]
    assert says in found[where]


def test_listeners_that_contradict(problems: Problems):
    """Names and endpoints twice, and a listener that lets nobody send."""
    found = problems(
        GOOD
        + """
        [[listener]]
        name = "a"
        endpoint = 465
        [[listener]]
        name = "a"
        endpoint = "tcp:465"
        [[listener]]
        name = "c"
        endpoint = 25
        tls = "none"
        auth = "none"
        """
    )

    assert found == {
        'listener["a"].name': '"a" is used twice',
        'listener["a"].endpoint': '"tcp:465" is used twice',
        'listener["c"].auth': '"none" without trusted_networks: nobody could send here',
    }


def test_trusted_networks_at_the_listener_or_at_the_top(configured: Configured):
    """A listener without AUTH is allowed as soon as somebody is trusted there."""
    plain = '[[listener]]\nname = "c"\nendpoint = 25\ntls = "none"\nauth = "none"\n'

    assert configured(plain, top='trusted_networks = ["192.0.2.0/24"]').listener[0].name == "c"
    assert configured(plain + 'trusted_networks = ["::1"]').listener[0].name == "c"


def test_plain_listeners_need_no_certificate(tmp_path: Path):
    """A certificate is asked for where there is TLS, and only there."""
    file = tmp_path / "mta.toml"
    file.write_text(
        'host_name = "relay.example.org"\n[[listener]]\nname = "c"\nendpoint = 25\n'
        'tls = "none"\nauth = "none"\ntrusted_networks = ["127.0.0.0/8"]\n'
    )
    assert load(file, {}).certificate == ()


@pytest.mark.parametrize(
    ("target", "where", "says"),
    [
        ("", "name", "needs one of mx, smarthost, lmtp, maildir, discard or error"),
        ("mx = {}\ndiscard = true", "discard", "and mx exclude each other"),
        ("discard = false", "discard", "must be true, or left out"),
        ('error = { enhanced = "4.0.0" }', "error.enhanced", "must match ^5"),
        ('smarthost = { host = "h.example", tls = "none", login = "u", password_file = "p" }',
         "smarthost.tls", "never sent in the clear"),
        ('smarthost = { host = "h.example", password_file = "p" }',
         "smarthost.password_file", "needs login"),
        ('smarthost = { host = "h.example", login = "u", password_file = "p",'
         ' password_credential = "c" }',
         "smarthost.password_credential", "exclude each other"),
        ('smarthost = { host = "h.example", login = "u", password_credential = "../p" }',
         "smarthost.password_credential", "no name of a credential"),
        ("smarthost = {}", "smarthost.host", "is required"),
        ('mx = { port = 0, tls = "maybe" }', "mx.port", "at least 1"),
        ("lmtp = {}", "lmtp.socket", "or host is needed"),
        ('lmtp = { socket = "/s", host = "h.example" }', "lmtp.host", "exclude each other"),
        ('lmtp = { socket = "/s", tls = "starttls" }', "lmtp.tls", "a socket has none"),
        ('lmtp = { host = "h.example" }', "lmtp.port", "is needed with host"),
        ('lmtp = { host = "h.example", port = 25 }', "lmtp.port", "LMTP must not be there"),
        ("maildir = {}", "maildir.path", "is required"),
        ('maildir = { path = "mail/{local}" }', "maildir.path", "must be an absolute path"),
        ('maildir = { path = "/mail/../{local}" }', "maildir.path", 'without ".."'),
        ('maildir = { path = "/mail/{user}" }', "maildir.path", "no other {}"),
        ('maildir = { path = "/mail/{local" }', "maildir.path", "no other {}"),
        ('maildir = { path = "/mail/{local.x}" }', "maildir.path", "no other {}"),
    ],
)  # fmt: skip
def test_routes_that_contradict(problems: Problems, target: str, where: str, says: str):
    """A route leads to exactly one place, with credentials that are complete and private."""
    found = problems(f'{GOOD}[[route]]\nname = "r"\n{target}\n')

    assert says in found[f'route["r"].{where}']


def test_settings_cannot_be_changed(configured: Configured):
    """What was loaded stays: a reload makes new settings."""
    settings = configured()
    with pytest.raises(ValueError, match="frozen"):
        settings.host_name = "other.example.org"  # type: ignore[misc]
