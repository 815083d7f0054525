"""The tables of routes that end in mailboxes here: ``route.lmtp`` and ``route.maildir``."""

from collections.abc import Iterator
from typing import Literal

from pydantic import Field, StrictBool, StrictInt, StrictStr

from mta.config.file_values import FilePath, MailboxPath
from mta.config.section import Conflict, Section
from mta.config.values import (
    Host,
)


class LmtpTarget(Section):
    """To a server of mailboxes, by LMTP (RFC 2033): Dovecot, Cyrus and others."""

    socket: FilePath | None = Field(
        None, description="Its unix socket.", examples=["/run/dovecot/lmtp"]
    )
    host: Host | None = Field(None, description="Or: its name or address.")
    port: StrictInt | None = Field(
        None, ge=1, le=65535, description="With host; 24 is usual, 25 is never LMTP."
    )
    tls: Literal["none", "starttls", "implicit"] = Field(
        "none", description="With host: its certificate must verify, unless this is none."
    )

    def conflicts(self) -> Iterator[Conflict]:
        """Yield what does not go together, and a port that is SMTP's (RFC 2033 §5)."""
        if self.socket is None and self.host is None:
            yield Conflict(("socket",), "or host is needed", ("host",))
        if self.socket is not None:
            for key in ("host", "port"):
                if getattr(self, key) is not None:
                    yield Conflict((key,), "and socket exclude each other", ("socket",))
            if self.tls != "none":
                yield Conflict(("tls",), "is for host: a socket has none", ("socket",))
        elif self.host is not None and self.port is None:
            yield Conflict(("port",), "is needed with host", ("host",))
        if self.port == 25:
            yield Conflict(("port",), "25 is SMTP, and LMTP must not be there (RFC 2033)", ())


class MaildirTarget(Section):
    """Into a Maildir for each recipient, owned by the user of the service."""

    path: MailboxPath = Field(
        description="Where it is: absolute, with {local} and {domain} for what stands before and"
        " behind the @ of the address, in lower case.",
        examples=["/var/mail/{domain}/{local}"],
    )
    create: StrictBool = Field(
        False,
        description="Make directories that are missing; otherwise their recipients are unknown"
        " (5.1.1).  The part of path before the first { must be there in any case.",
    )
    delimiter: StrictStr = Field(
        "",
        max_length=1,
        description='The local part ends before it: with "+", anna+lists is anna.',
    )
