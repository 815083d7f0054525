"""A configuration file written for one test."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mta.config import ConfigError, Settings, load

CERTIFICATE = '[[certificate]]\ncertificate = "c.pem"\nkey = "k.pem"\n'


@pytest.fixture
def configured(tmp_path: Path) -> Callable[..., Settings]:
    """Load a host name, ``top``, a certificate and ``text``."""

    def load_text(text: str = "", top: str = "", **environ: str) -> Settings:
        file = tmp_path / "mta.toml"
        file.write_text(f'host_name = "relay.example.org"\n{top}\n{CERTIFICATE}{text}', "utf-8")
        return load(file, environ)

    return load_text


@pytest.fixture
def problems(tmp_path: Path) -> Callable[..., dict[str, str]]:
    """Load a whole text that is wrong; give what is wrong by key path."""

    def load_text(text: str | bytes, **environ: str) -> dict[str, str]:
        file = tmp_path / "mta.toml"
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        with pytest.raises(ConfigError) as caught:
            load(file, environ)
        found: Any = caught.value.problems
        assert all(problem.file == file for problem in found)
        assert len({problem.where for problem in found}) == len(found)
        return {problem.where: problem.text for problem in found}

    return load_text
