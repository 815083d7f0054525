"""Reports on TLS (RFC 8460): how sessions with a domain's hosts went, told to the domain."""
