"""Which header fields a signature covers (RFC 6376 §5.4): the names, and why.

What can be added to a message without being noticed is what forgers add: a second From, a
second Subject, a Content-Type that shows another part of the body.  So those are
*oversigned*, named once more than they occur: one more of them breaks the signature
(RFC 6376 §5.4.2, §8.15).
"""

# Named once more than they occur, also if they do not occur at all.
OVERSIGNED = (
    "From", "To", "Cc", "Subject", "Date", "Message-ID", "Reply-To",
    "MIME-Version", "Content-Type", "Content-Transfer-Encoding",
)  # fmt: skip

# As often as they occur.  RFC 8058 §4 wants the List-Unsubscribe fields covered, RFC 8460 §5.3 the
# last two.
SIGNED = (
    "Sender", "In-Reply-To", "References", "List-Id", "List-Help", "List-Unsubscribe",
    "List-Unsubscribe-Post", "List-Subscribe", "List-Post", "List-Owner", "List-Archive",
    "Auto-Submitted", "Feedback-ID", "CFBL-Address", "CFBL-Feedback-ID",
    "TLS-Report-Domain", "TLS-Report-Submitter",
)  # fmt: skip

# RFC 6376 §5.4.1: what is changed on the way, and what RFC 6376 §3.5 says of the field itself.
NEVER_SIGNED = frozenset(
    {"received", "return-path", "dkim-signature", "bcc", "authentication-results", "comments",
     "keywords"}
)  # fmt: skip
