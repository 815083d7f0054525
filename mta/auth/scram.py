"""Stored keys for SCRAM, and what stands in for them where there is no account.

A client that asks for an unknown login is shown a salt all the same (RFC 5802 §7).  It must be
the same whenever and wherever it asks, as a real account's is: it is made of the login and of a
secret that the spool keeps, so that neither a restart nor a second host tells them apart.
An account without keys for the hash that is asked for looks like one that does not exist.
"""

import secrets

from mta.auth.checkers import Spool, prepared_or_none
from mta.auth.passwords import SHA1, Keys, fake_keys, prepare_login
from mta.smtp.sasl import StoredKeys
from mta.spool import accounts, certificates
from mta.spool.accounts import Account

_SECRET = "scram"  # noqa: S105 - its name
_OCTETS = 32


class ScramKeys:
    """Gives the keys of a login, real or not."""

    def __init__(self, database: Spool) -> None:
        self._database = database
        self._secret: bytes | None = None

    async def get(self, username: str, hash_name: str) -> StoredKeys:
        """Return keys in any case; raises ``SpoolUnavailable``."""
        secret = await self._installation_secret()
        octets = username.encode("utf-8", "surrogatepass")
        login = prepared_or_none(prepare_login, octets)
        row = await self._database.read(accounts.get, login) if login is not None else None
        # Made in any case, so that the time is the same.
        fake = fake_keys(login or username, secret, hash_name)
        keys = None if row is None else _keys(row, hash_name)
        if row is None or keys is None:
            return StoredKeys("", fake.salt, fake.iterations, fake.stored_key, fake.server_key)
        return StoredKeys(
            row.login,
            keys.salt,
            keys.iterations,
            keys.stored_key,
            keys.server_key,
            "disabled" if row.disabled else "",
        )

    async def _installation_secret(self) -> bytes:
        if self._secret is None:
            known = await self._database.read(certificates.known_secret, _SECRET)
            if known is None:
                fresh = secrets.token_bytes(_OCTETS)
                known = await self._database.write(certificates.secret, _SECRET, fresh)
            self._secret = bytes(known)
        return self._secret


def _keys(row: Account, hash_name: str) -> Keys | None:
    if hash_name != SHA1:
        return Keys(row.salt, row.iterations, row.stored_key, row.server_key)
    if row.sha1_salt is None or row.sha1_iterations is None:
        return None
    assert row.sha1_stored_key is not None
    assert row.sha1_server_key is not None
    return Keys(row.sha1_salt, row.sha1_iterations, row.sha1_stored_key, row.sha1_server_key)
