"""Why did it not go through?  Rules, as data, from a reply to its cause.  Pure."""
