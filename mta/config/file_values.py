"""The types of settings that name files: paths, what may stand in their place, secrets.

As in ``values``, a ``ValueError``'s text follows the key path in an error message.
"""

import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, PlainValidator, ValidationInfo

from mta.config.secret import Secret, secret_in_credential, secret_in_file
from mta.config.values import AS_TEXT, IS_TEXT, text_of


def _directory(info: ValidationInfo) -> Path:
    """Return the directory of the configuration file, where relative paths begin."""
    return Path(info.context["directory"]) if info.context else Path()


def file_path(value: object, info: ValidationInfo) -> Path:
    """Return a path; a relative one begins at the configuration file's directory."""
    text = text_of(value, "/etc/mta/certificate.pem") if not isinstance(value, Path) else str(value)
    if not text:
        raise ValueError("must not be empty")
    return _directory(info) / Path(text).expanduser()


def mailbox_path(value: object) -> str:
    """Return the template of a Maildir's path."""
    text = text_of(value, "/var/mail/{domain}/{local}")
    if not text.startswith("/") or ".." in text.split("/"):
        raise ValueError(f'"{text}" must be an absolute path without ".."')
    if re.search("[{}]", re.sub(r"\{(domain|local)\}", "", text)):
        raise ValueError(f'"{text}" may have {{local}} and {{domain}} and no other {{}}')
    return text.rstrip("/")


def log_target(value: object, info: ValidationInfo) -> str | Path:
    """Return "none", "stderr", "syslog", or the path of a file."""
    text = text_of(value, "stderr") if not isinstance(value, Path) else str(value)
    if text in {"none", "stderr", "syslog"}:
        return text
    if "/" not in text and "." not in text:
        raise ValueError(
            f'"{text}" must be "none", "stderr", "syslog" or a path, "/var/log/mta.log"'
        )
    return file_path(text, info)


def authorities(value: object, info: ValidationInfo) -> str | Path:
    """Return "system", or the path of a file of certificates."""
    return "system" if value == "system" else file_path(value, info)


def providers_path(value: object, info: ValidationInfo) -> str | Path:
    """Return "shipped", "none", or the path of a file."""
    return value if value in ("shipped", "none") else file_path(value, info)


def causes_path(value: object, info: ValidationInfo) -> str | Path:
    """Return "shipped", or the path of a file."""
    return "shipped" if value == "shipped" else file_path(value, info)


def trusted(value: object, info: ValidationInfo) -> str | Path:
    """Return "system", "certifi", or the path of a file of certificates."""
    return "certifi" if value == "certifi" else authorities(value, info)


def file_or_url(value: object, info: ValidationInfo) -> str | Path:
    """Return an HTTPS URL, or the path of a file."""
    if isinstance(value, str) and "://" in value:
        if not re.fullmatch(r"https://[!-~]+", value):
            raise ValueError(f'"{value}" must begin with https://, or be the path of a file')
        return value
    return file_path(value, info)


def _secret_file(value: object, info: ValidationInfo) -> Secret:
    return secret_in_file(text_of(value, "/etc/mta/password"), _directory(info))


def _secret_credential(value: object, info: ValidationInfo) -> Secret:
    environ = info.context["environ"] if info.context else {}
    return secret_in_credential(text_of(value, "smarthost-password"), environ)


def _written(secret: Any) -> str:
    return str(secret.written)


FilePath = Annotated[Path, PlainValidator(file_path), AS_TEXT, IS_TEXT]
LogTarget = Annotated[str | Path, PlainValidator(log_target), AS_TEXT, IS_TEXT]
FileOrUrl = Annotated[str | Path, PlainValidator(file_or_url), AS_TEXT, IS_TEXT]
CausesPath = Annotated[str | Path, PlainValidator(causes_path), AS_TEXT, IS_TEXT]
Trusted = Annotated[str | Path, PlainValidator(trusted), AS_TEXT, IS_TEXT]
MailboxPath = Annotated[str, BeforeValidator(mailbox_path)]
ProvidersPath = Annotated[str | Path, PlainValidator(providers_path), AS_TEXT, IS_TEXT]
Authorities = Annotated[str | Path, PlainValidator(authorities), AS_TEXT, IS_TEXT]
SecretFile = Annotated[
    Secret, PlainValidator(_secret_file), PlainSerializer(_written, return_type=str), IS_TEXT
]
SecretCredential = Annotated[
    Secret, PlainValidator(_secret_credential), PlainSerializer(_written, return_type=str), IS_TEXT
]
