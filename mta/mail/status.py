"""Enhanced status codes (RFC 3463, registry of RFC 5248) in words for people.

The words are for the sender of a message, who may never have heard of SMTP: what was
wrong, and where something can be done about it.  Knows only codes that mail in transit meets.
"""

import re

_FORM = re.compile(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}\Z")

_WORDS = {
    "1.0": "There is something wrong with the address.",
    "1.1": "There is no such mailbox at the recipient's organisation.",
    "1.2": "The domain, the part after the @, does not exist or takes no mail.",
    "1.3": "The address is not written in a form that mail servers understand.",
    "1.4": "The address fits more than one mailbox.",
    "1.6": "The mailbox has moved and left no new address.",
    "1.7": "The sender's address is not written in a form that mail servers understand.",
    "1.8": "The recipient's server does not accept the sender's domain.",
    "1.10": "The recipient's domain declares that it takes no mail at all.",
    "2.0": "There is something wrong with the mailbox.",
    "2.1": "The mailbox is switched off and takes no messages.",
    "2.2": "The mailbox is full.",
    "2.3": "The message is larger than the mailbox takes.",
    "2.4": "The mailing list could not be expanded.",
    "3.0": "The recipient's mail server has a fault.",
    "3.1": "The recipient's mail server has no room left.",
    "3.2": "The recipient's mail server takes no messages at the moment.",
    "3.3": "The recipient's mail server cannot do something that this message needs.",
    "3.4": "The message is larger than the recipient's mail server takes.",
    "3.5": "The recipient's mail server is set up wrongly.",
    "4.0": "There was a fault on the way to the recipient's mail server.",
    "4.1": "The recipient's mail server does not answer.",
    "4.2": "The connection to the recipient's mail server broke off.",
    "4.3": "The address of the recipient's mail server could not be looked up.",
    "4.4": "No way to the recipient's mail server was found.",
    "4.5": "There is too much mail for the recipient's mail server at the moment.",
    "4.6": "The message went round in a circle between mail servers.",
    "4.7": "The message was tried again and again until its time was over.",
    "5.0": "The two mail servers did not understand each other.",
    "5.1": "The recipient's mail server did not accept a command.",
    "5.2": "The recipient's mail server did not understand a command.",
    "5.3": "The message has too many recipients.",
    "5.4": "The recipient's mail server did not accept a part of a command.",
    "6.0": "There is something wrong with the content of the message.",
    "6.1": "The recipient's mail server does not take content of this kind.",
    "6.3": "The content would have had to be converted, and could not be.",
    "6.7": "The recipient's mail server does not take addresses with letters beyond ASCII.",
    "6.9": "The recipient's mail server does not take headers with letters beyond ASCII.",
    "7.0": "The recipient's mail server refused the message by its rules.",
    "7.1": "The recipient's mail server does not accept this message from this sender.",
    "7.2": "The sender may not write to this mailing list.",
    "7.4": "A security feature that the message needs is missing.",
    "7.8": "The mail server did not accept our credentials.",
    "7.10": "The message may only travel encrypted, and the server cannot do that.",
    "7.20": "The message has no valid DKIM signature.",
    "7.23": "The sender's domain does not allow our server to send for it (SPF).",
    "7.25": "The name of our server could not be confirmed.",
    "7.26": "The message passed none of the checks of its sender's domain.",
    "7.27": "The sender's domain declares that it takes no mail.",
    "7.30": "The message may only travel encrypted to proved servers; there is no such way.",
}
_SUBJECTS = {
    "1": "There is something wrong with an address.",
    "2": "There is something wrong with the recipient's mailbox.",
    "3": "The recipient's mail server has a fault.",
    "4": "The recipient's mail server could not be reached.",
    "5": "The two mail servers did not understand each other.",
    "6": "There is something wrong with the content of the message.",
    "7": "The recipient's mail server refused the message by its rules.",
}


def is_status(text: str) -> bool:
    """Tell whether ``text`` has the form of an enhanced status code (RFC 3463 §2)."""
    return _FORM.match(text) is not None


def of_class(enhanced: str, expected: str) -> str:
    """Return ``enhanced`` with the class ``expected`` ("2", "4" or "5"); ``x.0.0`` if malformed.

    Servers do answer ``550 4.7.1``; the class that goes with what we did is the one to report.
    """
    if not is_status(enhanced):
        return f"{expected}.0.0"
    return expected + enhanced[1:]


def words(enhanced: str) -> str:
    """Say in a sentence for the sender of the message what ``enhanced`` means; "" if nothing."""
    if not is_status(enhanced):
        return ""
    _, _, detail = enhanced.partition(".")
    return _WORDS.get(detail) or _SUBJECTS.get(detail.partition(".")[0], "")


_ADVICE = {
    "1": "Check the address for mistakes. If it is right, ask the recipient in another way.",
    "2": "Reach the recipient in another way, or send the message again later.",
    "2.3": "Send a smaller message, or pass large files on in another way.",
    "3.4": "Send a smaller message, or pass large files on in another way.",
    "3": "Send the message again later; the recipient's organisation has to act.",
    "4": "Send the message again later, and check that the address is right.",
    "6": "Send the message in another form: fewer or other attachments, plain text.",
    "6.7": "Write from and to addresses without letters beyond ASCII, if there are such.",
    "6.9": "Send the message without letters beyond ASCII in subject, names and addresses.",
    "7.10": "Send the message without demanding TLS (REQUIRETLS), if its content allows that.",
    "7.30": "Send the message without demanding TLS (REQUIRETLS), if its content allows that.",
    "7": "Ask the recipient in another way, or show this report to your postmaster.",
}


def advice(enhanced: str) -> str:
    """Say what the sender of the message can do after a failure with ``enhanced``."""
    _, _, detail = enhanced.partition(".")
    known = _ADVICE.get(detail) or _ADVICE.get(detail.partition(".")[0])
    return known or "If you do not know what to do, show this report to your postmaster."
