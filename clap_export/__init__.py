"""Put CLAP checkpoints into production: export, verify and measure; `runtime` runs the result."""

from runtime import __version__ as __version__
