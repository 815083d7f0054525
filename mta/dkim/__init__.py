"""DKIM signatures (RFC 6376): canonical forms, keys on disk, signing."""
