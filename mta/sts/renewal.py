"""Fetches policies anew before they end, and throws away those that ended long ago.

RFC 8461 §3.3: whoever can keep us from fetching must do so for the whole life of a policy, and
the operator hears of it long before.  Of domains to which no mail has gone for a month the
policy runs out.  Processes that share a spool share the work: each policy is one's at a time.
"""

from typing import Any

from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from mta.mail.events import Emit, Note
from mta.spool import sts
from mta.spool.database import Database
from mta.spool.errors import SpoolUnavailable
from mta.spool.sts import Stored
from mta.sts.policies import Policies

EVERY_S = 300.0
_AGAIN_MS = 3_600_000  # when the next try is due, if this one fails
_USED_MS = 30 * 86_400_000
_OVER_MS = 7 * 86_400_000  # what ended before that goes
_MOST = 50  # in one turn


class Renewal:
    """Runs from ``start`` to ``stop``."""

    _log = Logger()

    def __init__(self, reactor: Any, database: Database, policies: Policies, emit: Emit) -> None:
        self.policies = policies
        self._database = database
        self._emit = emit
        self._loop = LoopingCall(lambda: Deferred.fromCoroutine(self._turn()))
        self._loop.clock = reactor

    def start(self) -> None:
        """Begin, after one interval."""
        self._loop.start(EVERY_S, now=False)

    def stop(self) -> None:
        """Take up nothing more, and let go of what is under way."""
        if self._loop.running:
            self._loop.stop()
        self.policies.stop()

    async def _turn(self) -> None:
        try:
            if self.policies.on:
                await self._renew()
        except CancelledError:
            raise
        except SpoolUnavailable:
            return  # the database says so itself; what is due stays due
        except Exception as error:
            self._log.failure("while policies of MTA-STS are renewed")
            self._emit(Note("error", "sts", f"policies cannot be renewed: {error!r}"))

    async def _renew(self) -> None:
        now_ms = self.policies.now_ms()
        database = self._database
        due = await database.write(
            sts.claim_due, now_ms, now_ms + _AGAIN_MS, now_ms - _USED_MS, _MOST
        )
        await DeferredList([Deferred.fromCoroutine(self._one(stored)) for stored in due])
        await database.write(sts.purge, now_ms - _OVER_MS)

    async def _one(self, stored: Stored) -> None:
        try:
            await self.policies.renew(stored)
        except CancelledError:
            raise
        except Exception as error:
            self._log.failure("while a policy of MTA-STS is renewed")
            text = f"the policy of {stored.domain} cannot be renewed: {error!r}"
            self._emit(Note("error", "sts", text))
