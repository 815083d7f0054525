"""Several workers: how many, their names, their ports, and what they cannot share."""

import os

import pytest

from mta.config.build import node_name
from mta.config.restart import needs_restart
from mta.config.running import as_text, from_text
from mta.config.workers import monitor_endpoint, worker_nodes

GOOD = 'host_name = "relay.example.org"\n[[certificate]]\ncertificate = "c"\nkey = "k"\n'


def test_one_process_is_the_default(configured):
    """Then there are no workers, and the process has the name it always had."""
    assert worker_nodes(configured()) == []
    assert worker_nodes(configured(top="workers = 1")) == []
    assert node_name(configured()) == "relay.example.org"


def test_names(configured):
    """Each has the node's name and a number: no name that can be configured is like it."""
    settings = configured('[queue]\nnode = "a"', top="workers = 3")
    assert worker_nodes(settings) == ["a/1", "a/2", "a/3"]
    settings._node = "a/2"
    assert node_name(settings) == "a/2"


def test_auto_is_the_cores_that_we_may_use(configured, monkeypatch):
    """Not those of the machine; one core is one process."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 5})
    settings = configured(top='workers = "auto"')
    assert len(worker_nodes(settings)) == 3
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {4})
    assert worker_nodes(settings) == []


@pytest.mark.parametrize("value", ["0", "-1", "65", "true", '"2"', "1.5", "[2]", '"AUTO"'])
def test_bad_numbers(problems, value):
    """The words say what is allowed."""
    assert problems(f"workers = {value}\n{GOOD}") == {
        "workers": 'must be a number from 1 to 64, or "auto"'
    }


@pytest.mark.parametrize(
    ("endpoint", "second"),
    [
        ("tcp:9125", "tcp:9126"),
        ("tcp:port=9125:interface=127.0.0.1", "tcp:port=9126:interface=127.0.0.1"),
        (r"tcp6:9125:interface=\:\:1", r"tcp6:9126:interface=\:\:1"),
    ],
)
def test_monitors_have_ports_in_a_row(endpoint, second):
    """The first is as configured."""
    assert monitor_endpoint(endpoint, 1) == endpoint
    assert monitor_endpoint(endpoint, 2) == second


def test_what_cannot_be_shared(problems):
    """An endpoint that wraps what it accepts, and a monitor without a number."""
    listener = '[[listener]]\nname = "x"\nendpoint = "haproxy:tcp:2525"\n'
    monitor = '[metrics]\nlisten = "unix:/run/mta/metrics"\n'
    found = problems(f"workers = 2\n{GOOD}{listener}{monitor}")
    assert {where: text.partition(":")[0] for where, text in found.items()} == {
        'listener["x"].endpoint': "workers share only tcp, tcp6, unix and systemd endpoints",
        "metrics.listen": "with several workers it must be a TCP port",
    }


def test_one_process_may_have_them(configured):
    """What works today goes on to work."""
    assert configured('[metrics]\nlisten = "unix:/run/mta/metrics"\n').metrics.listen


def test_another_number_needs_a_restart(configured):
    """A reload says so."""
    assert needs_restart(configured(), configured(top="workers = 2")) == ["workers"]


def test_what_a_worker_works_by_can_be_read_again(configured):
    """Its name is not in it: "mta config diff" reads it."""
    settings = configured(top="workers = 2")
    settings._node = "relay.example.org/1"
    assert from_text(as_text(settings)).workers == 2
