"""Heads are made here: labels of a user's own, learned from the vectors of a library."""
