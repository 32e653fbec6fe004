"""Sounds made by code: a catalogue of them, and the parts they are made of."""
