"""Bundles of lower precision, made from a bundle in FP32 and held against it."""
