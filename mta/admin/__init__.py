"""The mta command line."""
