"""The outside world of the demonstration: a name server and four receiving hosts.

Every host has an address of its own in 127.0.0.0/8, which Linux answers for without
any set-up, and all of them listen on one unprivileged port.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mta.demo.receivers import Greylist, Mailbox, Receiver
from mta.dns.responder import Responder
from mta.tls.certificates import CertificateFiles, ServerCertificates
from mta.tls.selfsigned import self_signed

PROMPT = "prompt.example"
PATIENT = "greylisting.example"
REFUSING = "refusing.example"
HOME = "home.example"

_ADDRESSES = {PROMPT: "127.0.0.11", PATIENT: "127.0.0.12", REFUSING: "127.0.0.13"} | {
    HOME: "127.0.0.14"
}


@dataclass(frozen=True, slots=True)
class World:
    """What is outside, once it listens."""

    mailboxes: dict[str, Mailbox]  # by domain
    dns_port: int
    mx_port: int
    authorities: Path  # certificates that the relay is told to trust: PROMPT's alone


def _mailboxes() -> dict[str, Mailbox]:
    return {
        PROMPT: Mailbox(f"mx1.{PROMPT}"),
        PATIENT: Mailbox(f"mx1.{PATIENT}", Greylist()),
        REFUSING: Mailbox(f"mx1.{REFUSING}", lambda recipient: (550, "5.1.1 No such user here")),
        HOME: Mailbox(f"mx1.{HOME}"),
    }


def zone() -> dict[str, list[tuple[str, str]]]:
    """Return the name server's data."""
    records: dict[str, list[tuple[str, str]]] = {}
    for domain, address in _ADDRESSES.items():
        records[domain] = [("MX", f"10 mx1.{domain}.")]
        records[f"mx1.{domain}"] = [("A", address)]
    return records


def open_world(reactor: Any, directory: Path) -> World:
    """Make certificates in ``directory`` and listen; ports are the system's choice."""
    mailboxes = _mailboxes()
    dns_port = Responder(zone()).listen(reactor, "127.0.0.1", 0)
    mx_port = 0
    for domain, mailbox in mailboxes.items():
        pair = _certificate(directory, mailbox.host)
        factory = Receiver(mailbox, ServerCertificates([pair]).options())
        port: Any = reactor.listenTCP(mx_port, factory, interface=_ADDRESSES[domain])
        mx_port = port.getHost().port
    authorities = directory / f"mx1.{PROMPT}.certificate.pem"
    return World(mailboxes, dns_port, mx_port, authorities)


def _certificate(directory: Path, host: str) -> CertificateFiles:
    certificate, key = self_signed(host, datetime.now(UTC))
    pair = CertificateFiles(
        directory / f"{host}.certificate.pem", directory / f"{host}.key.pem"
    )  # fmt: skip
    pair.certificate.write_bytes(certificate)
    pair.key.touch(mode=0o600)
    pair.key.write_bytes(key)
    return pair
