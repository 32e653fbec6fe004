"""Processes, devices, memory and random streams: what a run stands on."""
