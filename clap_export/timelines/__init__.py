"""Timelines as files that other programs read, and as a picture."""
