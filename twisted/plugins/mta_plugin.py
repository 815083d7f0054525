"""Announce the relay to ``twistd``."""

from twisted.application.service import ServiceMaker

mta = ServiceMaker("MTA", "mta.service", "An outbound mail relay with an SQL spool.", "mta")
