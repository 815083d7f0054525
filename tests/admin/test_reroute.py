"""``mta queue reroute``: by hand, by name, written down, and back again."""


def with_routes(relay):
    """Give the configuration a route beside the default one."""
    text = relay.config.read_text()
    relay.config.write_text(text + '[[route]]\nname = "drop"\ndiscard = true\n')


def test_reroute_and_clear(relay):
    """The choice is stored, shown and audited; --clear takes it back."""
    with_routes(relay)
    one = relay.accept("anna@example.com", "bo@example.net", created_ms=relay.now - 1000)
    arguments = ("queue", "reroute", "--to", "anna@example.com", "--yes")
    result = relay.run(*arguments, "--route", "drop")
    assert (result.output, result.exit_code) == ("rerouted 1 recipient\n", 0)
    (found,) = relay.json("trace", one)
    assert [to["route"] for to in found["recipients"]] == ["drop", ""]
    assert [event["text"] for event in found["events"]] == ["to route drop"]
    assert "by route drop" in relay.run("trace", one).stdout
    assert "route:   drop, chosen by an operator" in relay.run("why", one).stdout
    result = relay.run(*arguments, "--route", "drop")
    assert (result.stdout, result.exit_code) == ("rerouted 0 recipients\n", 1)
    assert relay.run(*arguments, "--clear").exit_code == 0
    (found,) = relay.json("trace", one)
    assert [to["route"] for to in found["recipients"]] == ["", ""]


def test_only_known_routes(local):
    """A mistyped name is refused, and what there is is said."""
    with_routes(local)
    one = local.accept()
    result = local.run("queue", "reroute", one, "--route", "dorp", "--yes")
    assert result.exit_code == 64
    assert "there are: drop, default" in result.stderr
    assert local.run("queue", "reroute", one, "--yes").exit_code == 64
    assert local.run("queue", "reroute", one, "--route", "drop", "--clear").exit_code == 64
    assert local.events() == []
