"""MTA-STS (RFC 8461): what a domain has promised about TLS of its mail exchangers."""
