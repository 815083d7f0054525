"""The tables of mail from outside: what is verified, and the lists of clients."""

import ipaddress
import re
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, StrictBool, StrictInt

from mta.config.fields import setting
from mta.config.section import Conflict, Section
from mta.config.units import parse_duration as _d
from mta.config.values import Domain, Duration, FullName


def code(value: object) -> str:
    """Return answers of a list: one address, "from-to", or a network, all in 127.0.0.0/8."""
    if isinstance(value, str) and code_range(value) is not None:
        return value
    raise ValueError(
        f'"{value}" must be answers such as "127.0.0.2", "127.0.0.4-127.0.0.7" or "127.0.1.0/24"'
    )


def code_range(text: str) -> tuple[ipaddress.IPv4Address, ipaddress.IPv4Address] | None:
    """Return the first and the last address that ``text`` means; None if it means nothing."""
    first, _, last = text.partition("-")
    try:
        if "/" in text:
            network = ipaddress.IPv4Network(text)
            found = network[0], network[-1]
        else:
            found = ipaddress.IPv4Address(first), ipaddress.IPv4Address(last or first)
    except ValueError:
        return None
    inside = all(one in ipaddress.IPv4Network("127.0.0.0/8") for one in found)
    return found if inside and found[0] <= found[1] else None


def answer_text(value: object) -> str:
    """Return the text of an answer to a client: one line of ASCII, two names in braces."""
    if not isinstance(value, str) or not re.fullmatch(r"[ -~]{1,300}", value):
        raise ValueError("must be one line of at most 300 ASCII characters")
    unknown = set(re.findall(r"{[^}]*}?", value)) - {"{address}", "{zone}"}
    if unknown:
        raise ValueError(f'"{value}": only {{address}} and {{zone}} can stand in braces')
    return value


Code = Annotated[str, BeforeValidator(code)]
AnswerText = Annotated[str, BeforeValidator(answer_text)]


class Incoming(Section):
    """Mail from outside: from clients that neither log in nor are trusted.  Never submission."""

    authentication_results: StrictBool = setting(
        "Whether SPF, DKIM and DMARC are looked at, and the results written on top of the message"
        " (Authentication-Results).  Results in our name that it brings along are removed.",
        True,
    )
    authserv_id: FullName | None = Field(
        None,
        description="The name in which the results are written; None: host_name.  The same for all"
        " hosts of an organisation that believe each other.",
        examples=["example.org"],
    )
    spf: StrictBool = setting("Whether SPF is looked at.", True)
    dkim: StrictBool = setting("Whether DKIM signatures are verified.", True)
    dmarc: StrictBool = setting("Whether DMARC is looked at; it needs both others.", True)
    dmarc_reject: Literal["record", "hold", "refuse"] = Field(
        "record",
        description="What is done with a message that fails DMARC and whose domain wants it refused"
        " (p=reject): only record it, hold it for an operator, or refuse it with 550 5.7.26.  Mail"
        " that a list or a forwarder has changed fails too.  The same is done with a message that"
        " has several From fields, or authors of several domains.",
    )
    dmarc_quarantine: Literal["record", "hold"] = Field(
        "record", description="Likewise, where the domain wants it looked at (p=quarantine)."
    )
    refuse_null_mx_senders: StrictBool = setting(
        "Refuse mail, with 550 5.7.27, whose sender's domain says that it takes no mail (RFC 7505):"
        " no answer and no report would ever arrive there.  What DNS has not said in two seconds is"
        " accepted.",
        True,
    )
    signatures: StrictInt = setting(
        "How many DKIM signatures of a message are verified.", 5, ge=1, le=50
    )
    timeout: Duration = setting(
        "How long a client waits for the results after its message is complete; what DNS has not"
        " answered by then is a temperror, never a refusal.",
        _d("10s"),
    )
    dnsbl_test: Duration = setting(
        "How often each [[dnsbl]] is tested: one that has not what every list has, or has what no"
        " list has, is out of force until it passes.",
        _d("10m"),
    )

    def conflicts(self) -> Iterator[Conflict]:
        """Yield DMARC without what it stands on."""
        if self.dmarc and not (self.spf and self.dkim):
            missing = "dkim" if self.spf else "spf"
            text = "needs spf and dkim: mail that only one of them vouches for would fail"
            yield Conflict(("dmarc",), text, (missing,))
        if self.timeout < _d("1s") or self.dnsbl_test < _d("30s"):
            key = "timeout" if self.timeout < _d("1s") else "dnsbl_test"
            yield Conflict((key,), "is too short: at least 1s for timeout, 30s for dnsbl_test")


class Dnsbl(Section):
    """Lists of clients in DNS, all asked at the same time; mail for postmaster always passes."""

    zone: Domain = Field(description="Domain of the list.", examples=["zen.dnsbl.example"])
    action: Literal["record", "hold", "refuse"] = Field(
        "refuse",
        description="What is done with mail of a client that is on it: only record it, hold it for"
        " an operator, or refuse its recipients.",
    )
    codes: tuple[Code, ...] = Field(
        (),
        description='Answers that count: "127.0.0.2", "127.0.0.4-127.0.0.7", "127.0.1.0/24".  None:'
        " all in 127.0.0.0/8.  Those in 127.255.255.0/24 are errors and never count.",
    )
    text: AnswerText = setting(
        "What a refused client is told: {address} and {zone} stand for its address and the list.",
        "Client host [{address}] is listed by {zone}",
    )
