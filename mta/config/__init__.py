"""One TOML file to frozen settings, with units, defaults and documentation."""
