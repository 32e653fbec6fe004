"""Damaged inputs, failing disks, killed processes and long load: `python -m tests.torture`."""
