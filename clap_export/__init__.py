"""Put CLAP checkpoints into production: export, verify and measure; `runtime` runs the result."""

__version__ = "0.1.0"
