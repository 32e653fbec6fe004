"""A run as one TOML file, read strictly."""
