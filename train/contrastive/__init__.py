"""The contrastive run: from a config to a model, a step at a time."""
