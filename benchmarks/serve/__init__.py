"""A service under load, and for long."""
