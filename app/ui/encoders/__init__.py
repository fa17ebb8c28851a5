"""Encoder dialog: list, timing, comparison and import of encoders."""
