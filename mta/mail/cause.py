"""Why mail did not go through, as one word of a closed list.

A reply, or a failure of ours, is brought down to its cause by the rules of ``mta.causes``.  The
word is an interface: it stands in the history, in the log, in reports and in rules.  Words may
be added; none changes its meaning.
"""

from enum import StrEnum


class Cause(StrEnum):
    """The causes, from those that are about us to those that are nobody's."""

    RATE_LIMITED = "rate-limited"  # too much from us in too short a time
    BLOCKED_IP = "blocked-ip"  # our address is on a list, or has a bad name there
    BLOCKED_CONTENT = "blocked-content"  # the message is taken for spam, or has a forbidden part
    AUTHENTICATION = "authentication"  # SPF, DKIM, DMARC, reverse name: ours are not in order
    LOGIN = "login"  # the smarthost does not accept our credentials
    RELAYING = "relaying"  # the host does not feel responsible for the recipient
    POLICY = "policy"  # another rule of the recipient's organisation
    GREYLISTED = "greylisted"  # everybody who is new there has to come again
    UNKNOWN_USER = "unknown-user"
    MAILBOX_OFF = "mailbox-off"  # switched off, unused, or takes no mail from outside
    MAILBOX_FULL = "mailbox-full"
    BAD_ADDRESS = "bad-address"  # it is not written in a form that is understood
    UNKNOWN_DOMAIN = "unknown-domain"  # it does not exist, or takes no mail
    TOO_LARGE = "too-large"
    UNSUPPORTED = "unsupported"  # the message needs what the host has not
    LOOP = "loop"
    DNS = "dns"  # the look-up failed
    TLS = "tls"  # the session would not have been private enough, or TLS failed
    CONNECT = "connect"  # no connection
    TIMEOUT = "timeout"  # it did not answer in time
    LOST = "lost"  # the connection ended in the middle
    PROTOCOL = "protocol"  # the two did not understand each other
    BUSY = "busy"  # a fault or a lack of room there that will pass
    ROUTE = "route"  # a route of ours refuses such mail
    LOCAL = "local"  # a fault of ours
    WAITING = "waiting"  # nobody was asked: the destination is left alone, or the time was over
    OTHER = "other"  # no rule knows it


_WORDS = {
    Cause.RATE_LIMITED: "The recipient's mail server takes only so much mail from us at a time.",
    Cause.BLOCKED_IP: "The recipient's mail server does not trust our mail server at the moment;"
    " that is not about you or your message.",
    Cause.BLOCKED_CONTENT: "The recipient's mail server takes the message, or a part of it, for"
    " something unwanted.",
    Cause.AUTHENTICATION: "The recipient's mail server could not confirm that the message comes"
    " from who it says; your postmaster can put that right.",
    Cause.LOGIN: "The mail server that passes our mail on did not accept our log-in.",
    Cause.RELAYING: "The mail server that the message was brought to does not take mail for that"
    " address.",
    Cause.POLICY: "The recipient's organisation has a rule against it.",
    Cause.GREYLISTED: "The recipient's mail server makes new senders wait for a while.",
    Cause.UNKNOWN_USER: "There is no such mailbox.",
    Cause.MAILBOX_OFF: "The mailbox is switched off, or takes no mail from you.",
    Cause.MAILBOX_FULL: "The mailbox is full.",
    Cause.BAD_ADDRESS: "The address is not written in a form that mail servers understand.",
    Cause.UNKNOWN_DOMAIN: "The domain, the part after the @, does not exist or takes no mail.",
    Cause.TOO_LARGE: "The message is too large.",
    Cause.UNSUPPORTED: "The message needs something that the recipient's mail server cannot do.",
    Cause.LOOP: "The message went round in a circle between mail servers.",
    Cause.DNS: "It could not be found out where mail for that domain goes.",
    Cause.TLS: "No connection to the recipient's mail server was private enough.",
    Cause.CONNECT: "The recipient's mail server could not be reached.",
    Cause.TIMEOUT: "The recipient's mail server did not answer in time.",
    Cause.LOST: "The connection to the recipient's mail server broke off.",
    Cause.PROTOCOL: "The two mail servers did not understand each other.",
    Cause.BUSY: "The recipient's mail server has a fault, or no room, at the moment.",
    Cause.ROUTE: "Our own mail server is set up not to send such mail.",
    Cause.LOCAL: "Our own mail server had a fault.",
    Cause.WAITING: "The message had to wait, and nothing could be tried in its time.",
    Cause.OTHER: "",
}


def sentence(cause: str) -> str:
    """Say in a sentence for the sender of the message what ``cause`` means; "" if nothing."""
    return _WORDS.get(Cause(cause), "") if cause in _ALL else ""


_ALL = frozenset(Cause)
