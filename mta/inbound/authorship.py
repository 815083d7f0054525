"""Whether the author in the header of an arriving message is one that the client may be.

Looks at the header alone; what is allowed is the policy's business (``gate``).
"""

from mta.inbound.gate import Passage, Rulings
from mta.mail import author
from mta.smtp.replies import Reply, reply

HEADER_TOO_LONG = reply(552, "5.3.4", "The header of the message is too long")


def owned(
    block: bytes, passage: Passage, rulings: Rulings, *, complete: bool
) -> tuple[bytes, tuple[Reply, str] | None]:
    """Return the block with an author that the client may be; or a refusal and its reason.

    ``complete``: the block is all that there is of the message.
    """
    end = 0 if block.startswith(b"\r\n") else block.find(b"\r\n\r\n") + 2
    if end == 1 and not complete:  # who knows what stands further down
        return block, (HEADER_TOO_LONG, "the header is too long to be checked")
    found = author.authors(block[:end] if end != 1 else block)
    ruling = passage.author(found.fields, found.addresses)
    if (refused := rulings.obey(ruling)) is not None:
        return block, refused
    if ruling is not None and ruling.rewrite:
        return author.rewritten(block, found.at, ruling.rewrite), None
    return block, None
