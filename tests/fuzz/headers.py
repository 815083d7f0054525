"""What is fuzzed of mail itself: its header, its signatures, addresses that come back.

The judge of a header is the standard library's parser, which shares nothing with ours: what it
shows its reader must not be what ours has overlooked.
"""

from email import message_from_bytes, policy
from email.message import Message

from mta.mail import author, completion, headers, xtext
from mta.mail.address import domain_of, folded
from mta.mail.srs import Expired, Forged, Srs
from mta.smtp import grammar
from mta.smtp.framing import has_bare_line_end
from mta.verify.dmarc_record import record
from mta.verify.forged import without_forged
from mta.verify.key_record import public_key
from mta.verify.signature_field import Unusable, claimed, signature

_US = "relay.example"
_SRS = Srs("srs.example", (b"one", b"two"), hash_length=24)
_NOW_S = 1_800_000_000.0


def header_of_mail(data: bytes) -> None:
    """No author, Bcc, priority or forged result that another reader sees is hidden from us."""
    if has_bare_line_end(data) or b"\0" in data:
        return  # no such header is taken
    found = headers.scan(data)
    assert 0 <= found.end <= len(data)
    assert all(name == name.lower() for name in found.names)
    assert found.message_id == "" or not set(found.message_id) & set("\r\n \t")
    if not found.well_begun:
        return  # an empty line goes above it, and it is text
    block = data[: found.end]
    authors = author.authors(block)
    read = _read(block)
    assert authors.fields >= max(found.names.count(b"from"), _count(read, "from"))
    assert (authors.fields > 0) == (found.author_at >= 0)
    kept = completion.without_hidden(data, found.end)
    assert len(kept) <= len(data)
    kept = kept[: headers.end_of(kept)]
    assert not completion.has_hidden(headers.scan(kept).names)
    assert _count(_read(kept), "bcc") == _count(_read(kept), "resent-bcc") == 0
    kept, _ = headers.take_priority(data, found.end)
    assert _count(_read(kept[: headers.end_of(kept)]), "mt-priority") == 0
    kept, removed = without_forged(block, _US)
    results = [str(one).strip().lower() for one in _all(_read(kept), "authentication-results")]
    assert not any(one == _US or one.startswith(f"{_US};") for one in results)
    assert without_forged(kept, _US) == (kept, 0) or not removed


def _read(block: bytes) -> Message:
    return message_from_bytes(block + b"\r\n", policy=policy.compat32)


def _all(message: Message, name: str) -> list[str]:
    return [str(value) for key, value in message.items() if key.strip().lower() == name]


def _count(message: Message, name: str) -> int:
    return len(_all(message, name))


def signatures_of_mail(data: bytes) -> None:
    """A signature, the record of its key and that of a policy are used, or refused in words."""
    field, _, text = data.partition(b"\0")
    assert all(value for _, value in claimed(field))
    record([text])
    try:
        found = signature(field, _NOW_S)
    except Unusable as error:
        assert str(error)
        return
    for name in (found.domain, found.selector, found.user):
        assert name.isascii() and name == name.lower() and not set(name) & set(" \r\n;")
    assert found.user == found.domain or found.user.endswith("." + found.domain)
    assert found.length is None or found.length >= 0
    try:
        signature(found.unsigned, _NOW_S)
    except Unusable as error:
        assert str(error) == "b= is missing"
    else:
        raise AssertionError("the value of b= is left in what is hashed")
    try:
        public_key((text,), found)
    except Unusable as error:
        assert str(error)


def addresses_of_bounces(data: bytes) -> None:
    """What SRS makes of an address it takes back; nothing else, and nobody forges one."""
    text = data.decode("utf-8", "replace")
    try:
        address = grammar.mailbox(text)[0]
        domain_of(address)
    except ValueError:  # both are refused at MAIL and RCPT
        return
    try:
        _SRS.reverse(address, 20_000)
    except (Forged, Expired) as error:
        assert str(error)
    else:
        raise AssertionError("forged")
    made = _SRS.forward(address, 20_000)
    if len(made.encode()) <= grammar.MAX_LOCAL_PART:
        assert grammar.mailbox(made) == (made, len(made))
    assert _SRS.claims(made)
    back = _SRS.reverse(made, 20_000)
    assert not set(back.rpartition("@")[2]) & set(' <>@,;"')
    local, given = back.rpartition("@")[0], address.rpartition("@")[0]
    assert local.startswith(("SRS0", '"SRS0')) or folded(back) == folded(address) or local != given


def xtext_of_parameters(data: bytes) -> None:
    """What xtext stands for can be shown, and is written again as the same."""
    text = data.decode("utf-8", "replace")
    for read, write in ((xtext.decode, xtext.encode), (xtext.decode_utf8, xtext.encode_utf8)):
        try:
            said = read(text)
        except ValueError as error:
            assert str(error).startswith("it ")
        else:
            assert not set(said) & set("\r\n\0")
            assert read(write(said)) == said
