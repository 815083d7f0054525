"""``mta config``: every mistake at once, what is in force, and the sample."""

import json
import tomllib

SMARTHOST = """
[[route]]
name = "provider"
smarthost = { host = "smtp.example.com", login = "us", password_file = "missing" }
[[certificate]]
certificate = "missing.pem"
key = "missing.key"
"""


def test_check(local):
    """A right configuration is told to be so."""
    result = local.run("config", "check")
    assert (result.output, result.exit_code) == (f"{local.config}: no mistakes found\n", 0)
    assert local.run("config", "check", "--json").output == ""


def test_check_files(local):
    """Files that the configuration names are tried too: secrets, certificates, keys."""
    with local.config.open("a") as config:
        config.write(SMARTHOST)
    result = local.run("config", "check")
    assert (result.exit_code, result.stdout) == (78, "")
    assert len(result.stderr.splitlines()) == 2
    for words in (f"{local.directory}/missing cannot be read", "missing.pem"):
        assert words in result.stderr
    lines = local.run("config", "check", "--json").stdout.splitlines()
    assert {json.loads(line)["key"] for line in lines} == {
        'route["provider"].smarthost',
        "certificate[0]",
    }


def test_check_of_missing_keys(local):
    """A directory of keys that is named and not there is doubtful: mail would go unsigned."""
    with local.config.open("a") as config:
        config.write('\n[dkim]\ndirectory = "/no/keys"\n')
    result = local.run("config", "check")
    assert result.exit_code == 0
    assert "dkim.directory: there is no directory /no/keys: no mail is signed\n" in result.stderr


def test_check_says_which_setting_names_a_file(local):
    """A file of rules that cannot be read is told with the setting that names it."""
    text = local.config.read_text()
    local.config.write_text(
        f'causes_file = "/no/causes"\n{text}\n[delivery]\nshaping_file = "/no/shaping"\n'
    )
    said = local.run("config", "check").stderr
    assert "/no/causes: cannot be read: No such file or directory (causes_file names it)" in said
    assert "(delivery.shaping_file names it)" in said


def test_check_mailboxes(local):
    """A directory or socket that routes need and that is not there is doubtful, no mistake."""
    with local.config.open("a") as config:
        config.write(
            '\n[[route]]\nname = "boxes"\nrecipient_domains = ["a.test"]\n'
            'maildir = { path = "/no/mail/{local}" }\n'
            '[[route]]\nname = "store"\nlmtp = { socket = "/no/lmtp" }\n'
        )
    result = local.run("config", "check")
    assert result.exit_code == 0
    assert 'route["boxes"].maildir.path: there is no directory /no/mail\n' in result.stderr
    assert 'route["store"].lmtp.socket: there is no socket /no/lmtp\n' in result.stderr


def test_check_that_reports_can_be_signed(local):
    """Reports on TLS without a DKIM key would not go out by mail: doubtful, until there is one."""
    with local.config.open("a") as config:
        config.write('\n[tls_report]\ncontact = "tls@a.test"\n')
    words = "tls_report: there is no DKIM key for a.test: mta dkim generate a.test\n"
    result = local.run("config", "check")
    assert result.exit_code == 0 and words in result.stderr
    assert local.run("dkim", "generate", "a.test", "--type", "ed25519").exit_code == 0
    assert words not in local.run("config", "check").stderr


def test_check_files_of_authentication(local):
    """Client authorities, a file of keys and the authorities of an URL are tried; no URL is."""
    oauth = '[oauth]\nissuer = "i"\naudience = "a"\njwks = "{}"\nauthorities = "absent.pem"\n'
    whole = local.config.read_text() + '[tls]\nclient_authorities = "absent.pem"\n'
    for jwks, key in (("absent.json", "oauth.jwks"), ("https://i/k", "oauth.authorities")):
        local.config.write_text(whole + oauth.format(jwks))
        lines = local.run("config", "check", "--json").stdout.splitlines()
        assert {json.loads(line)["key"] for line in lines} == {"tls.client_authorities", key}


def test_check_directories(local):
    """A log or a spool that could not be made for want of a directory is found before a start."""
    text = local.config.read_text()
    url = next(line for line in text.splitlines() if line.startswith("url = "))
    text = text.replace(url, 'url = "sqlite:////nowhere/mta.sqlite"')
    local.config.write_text(text + '[log]\ntext = "/nowhere/mail.log"\njson_lines = "stderr"\n')
    result = local.run("config", "check", "--json")
    assert result.exit_code == 78
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert {(one["key"], one["text"]) for one in found} == {
        ("log.text", "there is no directory /nowhere"),
        ("spool.url", "there is no directory /nowhere"),
    }


def test_check_mistakes(local):
    """Mistakes in the file itself come as JSON objects with file, key and text."""
    local.config.write_text('host_nam = "relay.example.org"\n')
    result = local.run("config", "check", "--json")
    assert result.exit_code == 78
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert ("host_nam", str(local.config)) in [(one["key"], one["file"]) for one in found]


def test_show(local):
    """What is in force is TOML that can be read back; --changed leaves the defaults out."""
    everything = tomllib.loads(local.run("config", "show").output)
    assert everything["retry"]["expiry"] == "5d"
    changed = tomllib.loads(local.run("config", "show", "--changed").output)
    assert set(changed) == {"host_name", "spool", "listener"}
    (as_json,) = local.json("config", "show", "--changed")
    assert as_json == changed


def test_show_hides_passwords(local):
    """A password in the spool's URL is not shown to who looks over the shoulder."""
    text = local.config.read_text().partition("[spool]")[0]
    text += '[spool]\nurl = "postgresql://mta:geheim@db.example.org/mta"\n'
    local.config.write_text(
        text + '[[listener]]\nname = "x"\nendpoint = "25"\ntls = "none"\n'
        'auth = "none"\ntrusted_networks = ["127.0.0.0/8"]\n'
    )
    for more in ((), ("--json",), ("--changed",)):
        result = local.run("config", "show", *more)
        assert result.exit_code == 0
        assert "geheim" not in result.output
        assert "db.example.org" in result.output


def test_sample_and_schema(local):
    """The sample is TOML with all keys explained, the schema JSON; neither needs a file."""
    local.config.unlink()
    sample = local.run("config", "sample").output
    assert "#expiry" in sample
    tomllib.loads(sample)
    assert json.loads(local.run("config", "schema").output)["title"] == "Settings"
