"""The durable queue.  All SQL of the program stands here."""
