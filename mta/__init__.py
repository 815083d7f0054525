"""An outbound mail relay: submission over SMTPS, an SQL spool, delivery to MX hosts."""

__version__ = "0.1.0"
