"""What processes say of their sites, and who can read it."""

import pytest

from mta.spool import leases, site_states
from mta.spool.engine import create_engine, reading, writing
from mta.spool.site_states import MOST, NodeSites, SiteState

STATE = SiteState("site:a/1", "a.example", 5, 2, 70, 12.5, 99, "connection refused\0", ("big",))


@pytest.fixture
def engine(spool_url):
    """Give the spool, once on each database."""
    made = create_engine(spool_url)
    yield made
    made.dispose()


def test_what_is_written_is_read(engine):
    """By node, with its age; a NUL from the network does not stop it."""
    with writing(engine) as conn:
        leases.register_node(conn, "one", "t1", 1000, 60_000, {})
        leases.register_node(conn, "two", "t2", 1000, 60_000, {})
        site_states.publish(conn, "t1", 2000, [STATE])
    with reading(engine) as conn:
        (found,) = site_states.everywhere(conn, 3000)
    assert found == NodeSites("one", 2000, (STATE,))


def test_it_ends_with_the_lease(engine):
    """A process that is gone says nothing any more."""
    with writing(engine) as conn:
        leases.register_node(conn, "one", "t1", 1000, 60_000, {})
        site_states.publish(conn, "t1", 2000, [STATE])
    with reading(engine) as conn:
        assert site_states.everywhere(conn, 61_001) == []


def test_it_is_bounded(engine):
    """However many sites there are, a summary has a hundred."""
    with writing(engine) as conn:
        leases.register_node(conn, "one", "t1", 1000, 60_000, {})
        site_states.publish(conn, "t1", 2000, [STATE] * 1000)
    with reading(engine) as conn:
        (found,) = site_states.everywhere(conn, 3000)
    assert len(found.sites) == MOST


def test_what_a_newer_program_adds_is_passed_over(engine):
    """Two versions at one spool."""
    with writing(engine) as conn:
        leases.register_node(conn, "one", "t1", 1000, 60_000, {})
        site_states.publish(conn, "t1", 2000, [STATE])
        text = conn.exec_driver_sql("SELECT sites FROM nodes").scalar()
        newer = text.replace('"key":', '"colour":"blue","key":')
        conn.execute(site_states.nodes.update().values(sites=newer))
    with reading(engine) as conn:
        assert site_states.everywhere(conn, 3000)[0].sites == (STATE,)
