"""The configuration: one TOML file to frozen settings, their units and documentation.

``load`` reads and checks the file, ``build`` turns the settings into the values that the
packages below take, ``show`` and ``sample`` write them for people.
"""

from mta.config.load import load
from mta.config.problems import ConfigError, Problem
from mta.config.settings import Settings

__all__ = ["ConfigError", "Problem", "Settings", "load"]
