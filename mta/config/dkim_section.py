"""The table of signatures: where the keys are, what is signed, and how."""

from pathlib import Path
from typing import Literal

from pydantic import Field, StrictBool

from mta.config.fields import setting
from mta.config.file_values import FilePath
from mta.config.section import Section
from mta.config.values import (
    Domain,
    DurationOrNever,
    SignedField,
)


class Dkim(Section):
    """DKIM signatures.  Keys are made with "mta dkim generate"; without keys nothing is signed."""

    directory: FilePath = Field(
        Path("dkim"),
        description="Directory of the private keys, DOMAIN/SELECTOR.pem.  Others must not be able"
        " to read them.  Read at start and on SIGHUP.",
    )
    domains: tuple[Domain, ...] = Field(
        (),
        description="Sign only for these; none: for every domain that has a key.  A key also serves"
        " authors in subdomains of its domain that have none of their own.",
        examples=[["example.org"]],
    )
    relayed: StrictBool = setting(
        "Whether mail of others that only passes through (from trusted networks, at listeners"
        " that are not for submission) is signed too.",
        False,
    )
    canonicalization: Literal[
        "relaxed/relaxed", "relaxed/simple", "simple/relaxed", "simple/simple"
    ] = Field(
        "relaxed/relaxed",
        description="How much of header and body may be changed on the way without breaking the"
        " signature.",
    )
    signed_fields: tuple[SignedField, ...] = Field(
        (),
        description="Header fields that are signed besides the usual ones, where they occur.",
        examples=[["X-Campaign"]],
    )
    expire: DurationOrNever = Field(
        None, description='How long a signature is valid; "never": for ever.'
    )
    activate_after: DurationOrNever = Field(
        None,
        description='When a key made by "mta dkim rotate" becomes active by itself; "never": with'
        ' "mta dkim rotate --activate".  Its DNS record must be there by then.',
    )
