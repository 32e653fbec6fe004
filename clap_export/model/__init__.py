"""The CLAP network in PyTorch: one family-neutral model that every loader fills."""
