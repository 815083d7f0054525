"""Which mail is signed, and with which keys.  Frozen: a reload makes new rules.

A message is signed for the domain of its author: with the keys of the From domain, or of
the nearest domain above it that has keys, so that they are aligned (relaxed, as DMARC
has it).  Foreign mail that only passes through is left alone unless the settings say otherwise.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

from mta.dkim.keys import Key, in_force, keys_for
from mta.dkim.sign import NotSigned, Selection, Signing, SigningSettings, from_domain, header_end


class Keyring:
    """The keys of all domains, and which of them are in force at a moment.  Changes nothing."""

    def __init__(self, keys: Sequence[Key], domains: Sequence[str] = ()) -> None:
        """With ``domains``, only those are signed for."""
        self._keys = [key for key in keys if not domains or key.domain in domains]
        moments = [key.active_from for key in self._keys if key.active_from is not None]
        self._changes_s = sorted(moment.timestamp() for moment in moments)
        self._until_s = float("-inf")
        self._by_domain: dict[str, tuple[Key, ...]] = {}

    def __bool__(self) -> bool:
        """Tell whether there is any key."""
        return bool(self._keys)

    def find(self, domain: str, at_s: float) -> tuple[Key, ...]:
        """Return the keys that sign for a From domain: RSA first, for those who read only one."""
        if at_s >= self._until_s:
            self._sort(at_s)
        return keys_for(self._by_domain, domain)

    def _sort(self, at_s: float) -> None:
        """Sort out what is in force until the next key becomes active."""
        by_domain: dict[str, list[Key]] = {}
        for key in in_force(self._keys, datetime.fromtimestamp(at_s, UTC)):
            by_domain.setdefault(key.domain, []).append(key)
        for keys in by_domain.values():
            keys.sort(key=lambda key: (key.algorithm.key_type != "rsa", key.selector))
        self._by_domain = {domain: tuple(keys) for domain, keys in by_domain.items()}
        self._until_s = min((one for one in self._changes_s if one > at_s), default=float("inf"))


class Rules:
    """Keys and settings together."""

    def __init__(self, keys: Keyring, settings: SigningSettings | None = None) -> None:
        self._keys = keys
        self._settings = settings or SigningSettings()
        self._selection = Selection(self._settings.additional)

    def __bool__(self) -> bool:
        """Tell whether anything can be signed at all."""
        return bool(self._keys)

    def wants(self, *, submission: bool) -> bool:
        """Tell whether such mail is signed: new mail, others' only if configured."""
        return bool(self._keys) and (submission or self._settings.relayed)

    def keys(self, domain: str, at_s: float) -> tuple[Key, ...]:
        """Return the keys that sign what an author at ``domain`` writes at that moment."""
        return self._keys.find(domain, at_s)

    def begin(self, octets: bytes, at_s: float, *, whole: bool) -> tuple[Signing, int] | None:
        """Begin to sign the message that begins with ``octets``, or is nothing else.

        Return the signing, which has been fed what there is of the body, and where the body
        begins; None if there is no key for its author.  Raises ``NotSigned`` if there may be
        one and it must not be used.
        """
        if not self._keys:
            return None
        end = header_end(octets, whole=whole)
        header = octets[: end if end >= 0 else len(octets)]
        keys = self._keys.find(from_domain(header), at_s)
        if not keys:
            return None
        if end < 0:
            raise NotSigned("its header does not end where headers end")
        if not header.count(b"\r\n") == header.count(b"\n") == header.count(b"\r"):
            raise NotSigned("its header has a bare CR or LF")  # BINARYMIME: who reads it how?
        settings = self._settings
        fields = self._selection.fields(header, settings.header_form)
        signing = Signing(keys, fields, settings, int(at_s))
        signing.feed(octets[end + 2 :])
        return signing, end + 2
