"""Where to: resolver, cache and the MX rules."""
