"""Accept: listeners and SMTP sessions coming in."""
