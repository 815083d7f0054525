"""What the server's core says by itself, where nothing need be decided."""

from mta.smtp.replies import Reply, reply
from mta.smtp.states import NEXT, State, out_of_order

# Known, and not done here: 502, not 500 (RFC 5321 §4.2.4).
_NOT_HERE = frozenset({"EXPN", "TURN", "ETRN", "ATRN", "SEND", "SOML", "SAML", "BURL"})

# Not 521, which is not for submission (RFC 6409 §7)
BARE_LF = reply(554, "5.5.2", "Bare LF: commands must end with CR LF; closing")
INJECTION = reply(554, "5.5.1", "Nothing may follow STARTTLS before its answer; closing")
TOO_MANY_ERRORS = reply(421, "4.7.0", "Too many errors; closing")
TOO_MANY_COMMANDS = reply(421, "4.7.0", "Too many commands without a message; closing")
# RFC 5321 §7.3: an honest "cannot say", whoever asks.
CANNOT_VERIFY = reply(252, "2.0.0", "Cannot verify the address, but will try to deliver to it")
HELP = reply(
    214,
    "2.0.0",
    "Commands: EHLO HELO MAIL RCPT DATA BDAT RSET NOOP VRFY HELP QUIT STARTTLS AUTH",
    "See RFC 5321; the answer to EHLO says what is possible now",
)


def at_sight(verb: str, text: str, state: State) -> Reply | None:
    """Return why a command is refused, whatever its arguments mean; None if it is not."""
    if not (text.isascii() and text.isprintable()):
        refusal = _unprintable(verb, text)
        if refusal is not None:
            return refusal
    states = NEXT.get(verb)
    if states is None:
        return _unknown(verb)
    if state not in states and verb != "BDAT":  # whose octets come all the same
        return out_of_order(verb, state)
    return None


def _unprintable(verb: str, text: str) -> Reply | None:
    """Return why a line that is not printable ASCII is refused; None if it is not.

    RFC 6531 §3.3 lets UTF-8 into addresses; joiners (RFC 5892 app. A) are letters' parts.
    """
    if text.isascii():
        return reply(500, "5.5.2", "The command has a control character in it")
    if verb not in ("MAIL", "RCPT", "VRFY"):
        return reply(500, "5.5.2", "The command is not ASCII")
    if any("\ud800" <= char <= "\udfff" for char in text):
        return reply(501, "5.5.2", "The command is neither ASCII nor UTF-8")
    if not text.replace("\u200c", "").replace("\u200d", "").isprintable():
        return reply(501, "5.5.2", "The command has a character in it that can't be shown")
    return None


def _unknown(verb: str) -> Reply:
    """Return the answer to a verb that is not in the table of commands."""
    if verb in _NOT_HERE:
        return reply(502, "5.5.1", f"{verb} is not implemented here")
    return reply(500, "5.5.1", "Command not known; HELP lists what is")
