"""A bundle's audio graph and labels, in one file that any engine runs."""
