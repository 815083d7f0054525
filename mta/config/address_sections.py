"""The tables of addresses: domains of ours, aliases, rewriting, SRS.

``docs/addresses.rst`` says how they work together.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from pydantic import Field, StrictBool, StrictInt, StrictStr

from mta.config.fields import one_secret, setting
from mta.config.file_values import FilePath, SecretCredential, SecretFile
from mta.config.secret import Secret
from mta.config.section import Conflict, Section
from mta.config.units import parse_duration as _d
from mta.config.values import Domain as DomainName
from mta.config.values import Duration, Name
from mta.policy.alias_file import INCLUDE, key, mailbox_follows, target
from mta.policy.rewriting import Rewrites


class Domain(Section):
    """A domain that is ours: mail for it is taken from everybody, and may have aliases."""

    name: DomainName = Field(description="The domain.", examples=["example.org"])
    recipients: tuple[StrictStr, ...] = Field(
        (),
        description='Its mailboxes: what stands before the @.  "ann+anything" goes along with ann.',
        examples=[["ann", "bob"]],
    )
    recipient_files: tuple[FilePath, ...] = Field(
        (), description="Files of mailboxes, one a line; # begins a comment."
    )
    aliases: dict[StrictStr, tuple[StrictStr, ...]] = Field(
        default_factory=dict,
        description='What other names stand for: staff = ["ann", "x@example.net"].  With an'
        " owner-staff beside it, failures are reported there.",
        examples=[{"staff": ["ann", "bob@example.net"]}],
    )
    alias_files: tuple[FilePath, ...] = Field(
        (), description="Files of aliases in Sendmail's form: name: address, address."
    )
    catch_all: tuple[StrictStr, ...] = Field(
        (),
        description='Where everything else goes; "@example.net": to the same name there.',
        examples=[["postmaster"]],
    )
    unknown: Literal["refuse", "accept"] | None = Field(
        None,
        description="What is done with other addresses: refuse (550 5.1.1), or accept and leave it"
        " to where the routes lead.  Default: refuse where any recipients or aliases are given.",
    )

    def conflicts(self) -> Iterator[Conflict]:
        """Yield addresses that are none, or lie elsewhere."""
        for name in self.recipients:
            if text := _no_name(name, self.name):
                yield Conflict(("recipients",), text)
        for name, targets in self.aliases.items():
            text = _no_alias(name, targets)
            if not text and (name.startswith("@") or mailbox_follows(name)):
                text = f'"{name}" must be a name without a domain here'
            if text:
                yield Conflict(("aliases", name), text)
        if self.catch_all and (text := _no_targets(self.catch_all)):
            yield Conflict(("catch_all",), text)


class Addresses(Section):
    """Aliases of several domains, and how addresses are looked up."""

    aliases: dict[StrictStr, tuple[StrictStr, ...]] = Field(
        default_factory=dict,
        description='Of addresses ("staff@example.org"), whole domains ("@old.example.org"), and'
        " names that hold in every domain of ours.",
        examples=[{"postmaster": ["ann@example.org"], "@old.example.org": ["@example.org"]}],
    )
    alias_files: tuple[FilePath, ...] = Field(
        (), description="Files of such aliases.", examples=[["aliases"]]
    )
    extension: StrictStr = Field(
        "+",
        max_length=1,
        description='What stands between a name and an extension: "ann+lists" is looked up as'
        ' itself, then as ann.  "": there are no extensions.',
    )
    most: StrictInt = setting("Addresses that one alias may come to.", 1000, ge=1, le=100_000)

    def conflicts(self) -> Iterator[Conflict]:
        """Yield what is no address."""
        for name, targets in self.aliases.items():
            if text := _no_alias(name, targets):
                yield Conflict(("aliases", name), text)


class Rewrite(Section):
    """Envelope addresses that are replaced when mail is accepted; in order, each at most once."""

    name: Name = Field(description="What the trace calls it.", examples=["old-names"])
    senders: StrictBool = Field(True, description="Whether senders are looked up in it.")
    recipients: StrictBool = Field(True, description="Whether recipients are.")
    mail: Literal["submission", "relay", "all"] = Field(
        "submission",
        description="submission: of who has logged in, and at submission listeners; relay: other"
        " mail; all.",
    )
    addresses: dict[StrictStr, StrictStr] = Field(
        default_factory=dict,
        description='What takes the place of what: an address, "@example.org" (all there) or'
        ' ".example.org" (the hosts below it); of another address, or "@example.org" with the'
        " name kept.",
        examples=[{".internal.example.org": "@example.org"}],
    )
    files: tuple[FilePath, ...] = Field((), description="Files of these, two columns a line.")

    def conflicts(self) -> Iterator[Conflict]:
        """Yield what is no table."""
        yield from no_rewrites(self.addresses, "addresses")
        if not (self.senders or self.recipients):
            yield Conflict(("senders",), "and recipients are both false: nothing is rewritten")
        if not (self.addresses or self.files):
            yield Conflict(("name",), "this table needs addresses or files")


class Srs(Section):
    """SRS: the sender of what is forwarded from outside to outside, so that SPF lets it pass."""

    domain: DomainName | None = Field(
        None,
        description="Where bounces come back to: a [[domain]] of ours whose MX we are.  None: no"
        " SRS.",
        examples=["example.org"],
    )
    secret_file: SecretFile | None = Field(
        None,
        description="File of secrets, one a line: the first is used, the others are still believed"
        " (put a new one on top, and take the last away after max_age).",
        examples=["srs-secrets"],
    )
    secret_credential: SecretCredential | None = Field(
        None,
        description="Or: name of the file in $CREDENTIALS_DIRECTORY that has them.",
        examples=["srs-secrets"],
    )
    max_age: Duration = setting("How long bounces are taken after the message.", _d("21d"))
    hash_length: StrictInt = setting(
        "Letters of the hash; a shorter one is not believed, so after a change to more bounces"
        " to addresses from before are refused.",
        4,
        ge=4,
        le=20,
    )

    def conflicts(self) -> Iterator[Conflict]:
        """Yield a domain without a secret, and the like."""
        yield from one_secret(self, "secret")
        if self.domain is not None and self.secret is None:
            yield Conflict(("domain",), "needs secret_file or secret_credential", ("secret_file",))
        if self.domain is None and self.secret is not None:
            yield Conflict(("domain",), "is required: without it there is no SRS")
        if not 1 <= self.max_age.days <= 1000:
            yield Conflict(("max_age",), "must lie between 1 and 1000 days")

    @property
    def secret(self) -> Secret | None:
        """Where the secrets are."""
        return self.secret_file or self.secret_credential


def no_rewrites(table: Mapping[str, str], field: str) -> Iterator[Conflict]:
    """Yield why ``table`` cannot be used."""
    try:
        Rewrites.of(table.items())
    except ValueError as error:
        yield Conflict((field,), str(error))


def _no_alias(name: str, targets: Sequence[str]) -> str:
    try:
        key(name)
    except ValueError as error:
        return str(error)
    return _no_targets(targets)


def _no_targets(targets: Sequence[str]) -> str:
    try:
        for one in targets:
            target(one)
    except ValueError as error:
        return str(error)
    return "" if targets else "needs an address"


def _no_name(name: str, domain: str) -> str:
    try:
        plain = not name.startswith("@") and target(name) == name and not name.startswith(INCLUDE)
    except ValueError as error:
        return str(error)
    if plain and (not mailbox_follows(name) or name.rpartition("@")[2].lower() == domain):
        return ""
    return f'"{name}" must be a name, without {domain} behind it'
