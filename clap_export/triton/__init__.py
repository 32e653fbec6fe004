"""A bundle or a tagger as a model repository for NVIDIA's Triton Inference Server."""
