"""What filters are told beside the commands: macros, under the names and with the values that
Postfix sends, so that what was written for Postfix works here.

A filter that wants other macros of a stage says so when the connection begins.  What is not
known is not sent.  Names of clients are not looked up: ``{client_name}`` is "unknown", which
filters know from every client whose address has no name.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from mta.milter.options import Stage

_CONNECT = ("j", "_", "v", "{daemon_name}", "{daemon_addr}", "{daemon_port}")
_CLIENT = ("{client_addr}", "{client_name}", "{client_port}", "{client_ptr}")
_TLS = ("{tls_version}", "{cipher}", "{cipher_bits}", "{cert_subject}", "{cert_issuer}")
_AUTH = ("{auth_type}", "{auth_authen}", "{auth_author}")
_MAIL = ("{mail_addr}", "{mail_host}", "{mail_mailer}")
_RCPT = ("{rcpt_addr}", "{rcpt_host}", "{rcpt_mailer}")

DEFAULT: Mapping[Stage, tuple[str, ...]] = MappingProxyType(
    {
        Stage.CONNECT: (*_CONNECT, *_CLIENT),
        Stage.HELO: _TLS,
        Stage.MAIL: ("i", *_AUTH, *_MAIL),
        Stage.RCPT: ("i", *_RCPT),
        Stage.DATA: ("i",),
        Stage.END_OF_HEADER: ("i",),
        Stage.END_OF_MESSAGE: ("i",),
    }
)


@dataclass(frozen=True, slots=True)
class Client:
    """Who is connected, and where to."""

    host_name: str  # ours
    daemon: str  # "name" of the listener
    version: str  # of this program
    address: str  # IP address; "" of a client that has none
    port: int = 0
    local_address: str = ""
    local_port: int = 0
    name: str = "unknown"

    def macros(self) -> dict[str, str]:
        """Return those of the connection."""
        return {
            "j": self.host_name,
            "_": f"{self.name} [{self.address}]",
            "v": self.version,
            "{daemon_name}": self.daemon,
            "{daemon_addr}": self.local_address,
            "{daemon_port}": str(self.local_port or ""),
            "{client_addr}": self.address,
            "{client_name}": self.name,
            "{client_port}": str(self.port),
            "{client_ptr}": self.name,
        }


@dataclass(frozen=True, slots=True)
class Hello:
    """What the client is at MAIL: it may have begun TLS and logged in since it connected."""

    name: str = ""  # what it calls itself
    tls: str = ""  # version and cipher, "" in the clear
    subject: str = ""  # of the certificate that it has shown
    login: str = ""
    mechanism: str = ""  # of AUTH

    def macros(self) -> dict[str, str]:
        """Return those of TLS and AUTH."""
        version, _, cipher = self.tls.partition(" ")
        return {
            "{tls_version}": version,
            "{cipher}": cipher,
            "{cipher_bits}": _bits(cipher),
            "{cert_subject}": self.subject,
            "{auth_type}": self.mechanism,
            "{auth_authen}": self.login,
        }


def of_mail(sender: str) -> dict[str, str]:
    """Return those of MAIL."""
    return dict(zip(_MAIL, (sender, sender.rpartition("@")[2], "smtp"), strict=True))


def of_rcpt(address: str, domain: str) -> dict[str, str]:
    """Return those of RCPT."""
    return dict(zip(_RCPT, (address, domain, "smtp"), strict=True))


def chosen(known: Mapping[str, str], wanted: Iterable[str]) -> list[tuple[str, str]]:
    """Return those that are wanted and have a value; "{i}" is the same as "i"."""
    pairs = []
    for name in wanted:
        bare = name.strip("{}")
        key = bare if len(bare) == 1 else f"{{{bare}}}"
        if known.get(key):
            pairs.append((key, known[key]))
    return pairs


def _bits(cipher: str) -> str:
    """Return the strength of a cipher, which its name says."""
    if "256" in cipher.replace("SHA256", "") or "CHACHA20" in cipher:
        return "256"
    return "128" if "128" in cipher else ""
