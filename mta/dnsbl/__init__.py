"""Lists of clients in DNS: who is on one, and whether the list can be believed (RFC 5782)."""
