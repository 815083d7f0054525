"""``mta cause``: what a reply means, and by which rule."""

from json import loads

from mta.mail.cause import Cause


def test_a_reply_is_explained(local):
    """Cause, rule, the sender's sentence, and what follows."""
    result = local.run("cause", "421 4.7.28 Gmail has detected an unusual rate of email")
    assert result.exit_code == 0
    assert result.output.startswith("rate-limited (rule google-rate)\n")
    assert "takes only so much mail from us" in result.output


def test_what_no_rule_knows(local):
    """It is "other", and the exit status says so."""
    result = local.run("cause", "550 No", "--json")
    assert result.exit_code == 1
    assert loads(result.output) == {"cause": "other", "rule": "", "action": None}


def test_the_list_of_causes(local):
    """Without a reply all causes are listed."""
    assert [one["cause"] for one in local.json("cause")] == [str(one) for one in Cause]


def test_own_rules_go_first(local):
    """A file of the operator's is asked before the shipped rules; a mistake in it is explained."""
    file = local.config.parent / "causes.toml"
    local.config.write_text('causes_file = "causes.toml"\n' + local.config.read_text())
    file.write_text('[[rule]]\nname = "mine"\ncause = "policy"\nhosts = [".example.net"]\n')
    reply = "421 4.7.28 rate limit"
    assert local.json("cause", reply, "--host", "mx.example.net")[0]["rule"] == "mine"
    assert local.json("cause", reply, "--host", "mx.example.com")[0]["cause"] == "rate-limited"
    file.write_text('[[rule]]\nname = "mine"\ncause = "policy"\ntext = ["(a+)+"]\n')
    result = local.run("config", "check")
    assert result.exit_code == 78 and 'rule["mine"].text[0]' in result.output
