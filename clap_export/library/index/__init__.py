"""Indexes are made here: ``build`` walks through a library, the others are its engines."""
