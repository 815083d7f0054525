"""Is it from whom it says: SPF, DKIM and DMARC of mail that strangers bring."""
