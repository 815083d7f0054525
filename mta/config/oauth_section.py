"""The table of the authorization server whose tokens are believed (OAUTHBEARER, XOAUTH2)."""

from collections.abc import Iterator

from pydantic import Field

from mta.config.fields import setting
from mta.config.file_values import Authorities, FileOrUrl
from mta.config.section import Conflict, Section
from mta.config.units import parse_duration as _d
from mta.config.values import (
    Duration,
)


class Oauth(Section):
    """Logging in with a token (OAUTHBEARER, XOAUTH2): offered where an issuer is set."""

    issuer: str | None = Field(
        None,
        min_length=1,
        description="The authorization server, as its tokens call it (iss), character by"
        " character.",
        examples=["https://login.example.org/"],
    )
    audience: str | None = Field(
        None,
        min_length=1,
        description="What a token must be for (aud): how the server calls this relay.",
        examples=["smtp.example.org"],
    )
    jwks: FileOrUrl | None = Field(
        None,
        description="The server's public keys, a JSON Web Key Set (RFC 7517): a file, or where to"
        " fetch it by HTTPS.",
        examples=["https://login.example.org/keys"],
    )
    authorities: Authorities = Field(
        "system",
        description='Certificate authorities that the URL\'s server is verified with: "system", or'
        " a PEM file.",
    )
    refresh: Duration = setting(
        "How long keys are used before they are read anew.  A token with an unknown key makes them"
        " read anew at once, but not twice within a minute; while that fails the old ones stay.",
        _d("1h"),
    )
    login_claim: str = Field(
        "sub",
        min_length=1,
        description="What in a token is the login of the account.  Choose one that users cannot"
        " change themselves.",
    )
    leeway: Duration = setting("By how much the clocks may differ.", _d("30s"))

    def conflicts(self) -> Iterator[Conflict]:
        """Yield what is missing, or too much."""
        for key in ("audience", "jwks"):
            if self.issuer is None and getattr(self, key) is not None:
                yield Conflict((key,), "needs issuer", ("issuer",))
            elif self.issuer is not None and getattr(self, key) is None:
                yield Conflict(("issuer",), f"needs {key}", (key,))
