"""Distillation: a small model learns to give a larger one's embeddings, without labels."""
