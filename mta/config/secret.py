"""Secrets: read from a file or from systemd's credentials, never written into the settings.

A ``Secret`` is a place, not a value: the command line loads the same file without having a
right to the passwords in it, and no dump of the settings can show one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Secret:
    """Where a secret is."""

    written: str  # as in the configuration: a path, or the name of a credential
    path: Path | None  # None: a credential without $CREDENTIALS_DIRECTORY

    def reveal(self) -> str:
        """Read the secret, without its line end; ``ValueError`` says why it cannot be had."""
        if self.path is None:
            raise ValueError(
                f'credential "{self.written}": $CREDENTIALS_DIRECTORY is not set'
                " (systemd sets it, for units with LoadCredential=)"
            )
        try:
            text = self.path.read_text("utf-8")
        except OSError as error:
            raise ValueError(f"{self.path} cannot be read: {error.strerror}") from None
        except UnicodeDecodeError:  # whose text would quote the secret
            raise ValueError(f"{self.path} is not UTF-8") from None
        text = text.removesuffix("\n").removesuffix("\r")
        if not text:
            raise ValueError(f"{self.path} is empty")
        return text


def secret_in_file(written: str, directory: Path) -> Secret:
    """Return the secret in a file; a relative path begins at the configuration's directory."""
    return Secret(written, directory / Path(written).expanduser())


def secret_in_credential(written: str, environ: Mapping[str, str]) -> Secret:
    """Return the secret that systemd hands over under this name (LoadCredential=)."""
    if not written or "/" in written or written in {".", ".."}:
        raise ValueError(f'"{written}" is no name of a credential')
    directory = environ.get("CREDENTIALS_DIRECTORY", "")
    return Secret(written, Path(directory) / written if directory else None)
