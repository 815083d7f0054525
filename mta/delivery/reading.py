"""What replies, and their absence, say: readings that ``attempt`` goes by.  Pure."""

from mta.delivery.trouble import Kind, Trouble
from mta.smtp.client import Transaction
from mta.smtp.replies import Reply
from mta.smtp.steps import Stage


def taken(reply: Reply) -> bool:
    """Tell whether it says yes."""
    return 200 <= reply.code < 300


def delivers(transaction: Transaction) -> bool:
    """Tell whether the message has arrived, for one recipient at least."""
    replies = (transaction.end_of_data, *(transaction.endings or ()))
    return any(reply is not None and taken(reply) for reply in replies)


def has_not(transaction: Transaction, number: int) -> bool:
    """Tell whether the peer is known not to have the message for the recipient with this number.

    Not where the line was lost after the final dot: then that is not known.
    """
    if not transaction.body_sent:
        return True
    endings, reply = transaction.endings, transaction.end_of_data
    if endings is not None:
        reply = endings[number]
    return reply is not None and not taken(reply)


def about_our_address(reply: Reply, stage: Stage) -> bool:
    """Tell whether a refusal may be for the address that we came from.

    5.7.25 says so: it has no name (RFC 7372 §3.4).  Of refusals of MAIL those count besides that
    speak of policy (5.7) or of nothing (550 and 554 without a code of their own); what is said
    of the sender's address (5.1), the message or the command does not.
    """
    if not reply.permanent:
        return False
    if reply.enhanced == "5.7.25":
        return True
    if stage is not Stage.MAIL:
        return False
    policy = reply.enhanced.startswith("5.7.")
    return policy or (reply.enhanced in ("", "5.0.0") and reply.code in (550, 554))


def proves_dead(transaction: Transaction | None, trouble: Trouble) -> bool:
    """Tell whether a reused connection had died while it was idle: that is no failure of the
    site's, and the message is sent on a fresh connection."""
    unanswered = transaction is not None and transaction.mail is None
    gone = trouble.kind is Kind.LOST or (trouble.reply is not None and trouble.reply.code == 421)
    return unanswered and gone
