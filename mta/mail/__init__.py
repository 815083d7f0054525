"""The words of mail: addresses, envelopes, headers, status, outcomes, DSNs.  No I/O."""
