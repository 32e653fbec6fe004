"""Measures of accuracy, with their intervals and rules for ties."""
