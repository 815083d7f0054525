"""Filters of others, asked by the Sendmail milter protocol."""
