"""Checkpoints in the formats of other projects, for what is built on those."""
