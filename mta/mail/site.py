"""A site: what all domains have in common whose mail goes to the same hosts.

Thousands of domains at one provider are one site: they share its connections, its limits and
its troubles.  Two domains belong together where the *sets* of their mail exchangers are the
same, whatever the preferences; or where somebody has said that hosts under some suffix are
one site (``gathered``), because the provider gives each customer a name of its own.  At another
port than 25 (``mx.port`` of a route) the same hosts are another site: what listens there is another
service, which may be dead while the first is well.  Its name is the same, so what is said about a
site by name is about both.

Trusts nothing: what a name server says can only put a domain into the company of hosts that its
mail does go to.
"""

from collections.abc import Iterable
from dataclasses import replace
from hashlib import sha256

from mta.mail.shape import ANY_SHAPE, Shape
from mta.mail.value import value

SMTP_PORT = 25
_FROM = " from "  # between the key of a site and our addresses; no name server can say it so


def _from(sources: Iterable[str]) -> str:
    return _FROM + ",".join(one or "system" for one in sources)


@value
class Site:
    """One site.  ``key`` is the same as long as its hosts are, in every process."""

    key: str
    name: str  # for people; different sites may have the same one
    hosts: tuple[str, ...] = ()  # its mail exchangers by name, sorted; none: not found by MX
    gathered: bool = False  # several sets of hosts that somebody has put together
    shape: Shape = ANY_SHAPE
    sources: tuple[str, ...] = ()  # our addresses, where that makes a difference; "": the system's

    def reached_from(self, sources: tuple[str, ...]) -> "Site":
        """Return the site as it is for mail from these addresses of ours alone."""
        return replace(self, key=self.base + _from(sources), sources=sources)

    @property
    def base(self) -> str:
        """The key of the site itself, whatever address of ours it is reached from."""
        return self.key.removesuffix(_from(self.sources)) if self.sources else self.key


def words_of(sources: Iterable[str]) -> str:
    """Return addresses of ours for people."""
    return ", ".join(one or "the system's address" for one in sources)


def site_of(hosts: Iterable[tuple[int, str]]) -> Site:
    """Return the site of mail exchangers, given with their preferences; at least one."""
    ranked = sorted(hosts)
    names = tuple(sorted({name for _, name in ranked}))
    name = _common(names) or ranked[0][1]
    if len(names) == 1:
        return Site(f"site:{name}", name, names)
    digest = sha256(" ".join(names).encode("utf-8", "surrogateescape")).hexdigest()
    return Site(f"site:{name}/{digest[:8]}", name, names)


def alone(key: str, name: str) -> Site:
    """Return the site of a destination that is one by itself: a smarthost, an address literal."""
    return Site(key, name)


def by_mx(domain: str, port: int = SMTP_PORT) -> str:
    """Return the key of a destination that is reached by the mail exchangers of ``domain``."""
    return f"mx:{domain}" if port == SMTP_PORT else f"mx:{domain}:{port}"


def behind_mx(destination: str) -> tuple[str, int] | None:
    """Return domain, or address literal, and port of such a key; None: it is another kind."""
    if not destination.startswith("mx:"):
        return None
    domain, colon, port = destination[3:].rpartition(":")
    if not colon or destination.endswith("]"):
        return destination[3:], SMTP_PORT
    return domain, int(port)


def at_port(site: Site, port: int) -> Site:
    """Return ``site`` as it is at another port: a service of its own, under the same name."""
    if port == SMTP_PORT:
        return site
    ours = _from(site.sources) if site.sources else ""
    return replace(site, key=f"{site.base}:{port}{ours}")


def _common(names: tuple[str, ...]) -> str:
    """Return what the ends of ``names`` have in common, if that says something; else ""."""
    first, *others = (name.split(".") for name in names)
    labels: list[str] = []
    for depth in range(1, len(first) + 1):
        label = first[-depth]
        if any(len(other) < depth or other[-depth] != label for other in others):
            break
        labels.insert(0, label)
    if len(labels) < 2 or (len(labels) == 2 and _registry(*labels)):
        return ""
    return ".".join(labels)


def _registry(second: str, top: str) -> bool:
    """Guess whether ``second.top`` is where names are sold ("co.uk"), not one that was."""
    return len(top) == 2 and len(second) <= 3
