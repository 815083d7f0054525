"""What a reload does not reach is named."""

from mta.config.restart import needs_restart


def test_what_needs_a_restart_is_named(configured):
    """Those settings, and no others."""
    old = configured()
    assert needs_restart(old, old) == []
    assert needs_restart(old, configured('[dns]\nattempts = 2\n[queue]\nnode = "b"')) == [
        "dns",
        "queue.node",
    ]
    monitor = configured('[metrics]\nlisten = "127.0.0.1:9125"\n')
    assert needs_restart(old, monitor) == ["metrics"]
    assert needs_restart(old, configured("[queue]\nconcurrency = 30\n")) == []
