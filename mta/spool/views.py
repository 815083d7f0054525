"""What other programs may read of the spool: views, an interface with a version of its own.

The tables change with the program; the views stay.  Within a version columns may be added at
the end, none changes its meaning, its type or its place, and none goes away.  They are made anew
after each upgrade of the schema and taken away before it, so that no revision stumbles over them;
a change to one needs a revision, even if it does nothing else.

Read-only, and nothing secret: no content, no accounts, no keys.  Yes and no are 1 and 0 on both
databases; times are milliseconds UTC.
"""

from sqlalchemy import Connection

VERSION = 1

_SENTENCES = {
    "v_version": f"SELECT {VERSION} AS version",
    "v_queue": """
SELECT r.message_id, r.number, m.sender, r.address AS recipient, r.domain, m.login, r.state,
  m.size, m.created_ms, m.expires_ms, r.attempts, r.next_attempt_ms,
  CASE WHEN r.claim IS NULL THEN 0 ELSE 1 END AS in_hand, r.route,
  r.last_ms, r.last_code, r.last_enhanced, r.last_text, r.last_host,
  r.last_category
FROM recipients r JOIN messages m ON m.id = r.message_id
WHERE r.state IN ('queued', 'held')""",
    "v_attempt": """
SELECT a.message_id, a.recipient AS number, r.address AS recipient, r.domain, a.attempt, a.node,
  a.started_ms, a.ended_ms, a.verdict, a.state, a.next_attempt_ms, a.cause, a.site,
  a.code, a.enhanced, a.text, a.command, a.blame,
  CASE WHEN a.maybe_delivered THEN 1 ELSE 0 END AS maybe_delivered,
  a.connect_s, a.transmit_s, a.host, a.address, a.port,
  a.tls_level, a.tls_version, a.tls_cipher, a.tls_why, a.tls_required, a.tls_required_why,
  a.category, a.source
FROM attempts a
JOIN recipients r ON r.message_id = a.message_id AND r.number = a.recipient""",
    "v_event": """
SELECT e.id, e.message_id, e.recipient AS number, e.at_ms, e.verb, e.who, e.text FROM events e""",
    "v_site": """
SELECT a.site, count(*) AS attempts,
  count(CASE WHEN a.verdict = 'delivered' THEN 1 END) AS delivered,
  count(CASE WHEN a.verdict = 'deferred' THEN 1 END) AS deferred,
  count(CASE WHEN a.verdict = 'failed' THEN 1 END) AS failed,
  count(CASE WHEN r.state IN ('queued', 'held') AND r.attempts = a.attempt THEN 1 END) AS waiting,
  min(a.started_ms) AS first_ms, max(a.ended_ms) AS last_ms
FROM attempts a
JOIN recipients r ON r.message_id = a.message_id AND r.number = a.recipient
GROUP BY a.site""",
}


def create(conn: Connection) -> None:
    """Make all views; there are none."""
    for name, sentence in _SENTENCES.items():
        conn.exec_driver_sql(f"CREATE VIEW {name} AS {sentence}")


def drop(conn: Connection) -> None:
    """Take away those that are there."""
    for name in _SENTENCES:
        conn.exec_driver_sql(f"DROP VIEW IF EXISTS {name}")
