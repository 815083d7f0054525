"""The table of where tokens for logging in at a smarthost come from."""

from collections.abc import Iterator
from typing import Literal

from pydantic import Field, StrictStr

from mta.config.fields import one_secret
from mta.config.file_values import FilePath, SecretCredential, SecretFile
from mta.config.secret import Secret
from mta.config.section import Conflict, Section


class TokenTarget(Section):
    """Log in by token (OAUTHBEARER, XOAUTH2): where tokens come from."""

    token_url: StrictStr = Field(
        pattern=r"^https://[!-~]+$",
        description="The token endpoint.  Its certificate must verify as smarthosts' must.",
        examples=["https://login.example.net/token"],
    )
    client_id: StrictStr = Field(pattern=r"^[ -~]+$", description="What we are called there.")
    client_secret_file: SecretFile | None = Field(
        None, description="File with our secret there, alone on its line."
    )
    client_secret_credential: SecretCredential | None = Field(
        None, description="Or: name of the file in $CREDENTIALS_DIRECTORY that has it."
    )
    refresh_token_file: FilePath | None = Field(
        None,
        description="File with a refresh token: it is the grant then, and the file is replaced when"
        " the endpoint gives a new one.  None: client_credentials.",
        examples=["/var/lib/mta/refresh-token"],
    )
    scope: StrictStr = Field(
        "", pattern=r"^[!-~ ]*$", description="What to ask for; several with a space between."
    )
    client_auth: Literal["basic", "body"] = Field(
        "basic", description="How the secret is shown: in the HTTP header, or in the form."
    )

    def conflicts(self) -> Iterator[Conflict]:
        """Yield secrets that are double, or missing."""
        yield from one_secret(self, "client_secret")
        if self.client_secret is None and self.refresh_token_file is None:
            text = "needs client_secret_file, client_secret_credential or refresh_token_file"
            yield Conflict(("client_id",), text, ("client_secret_file", "refresh_token_file"))

    @property
    def client_secret(self) -> Secret | None:
        """Where the secret is."""
        return self.client_secret_file or self.client_secret_credential
