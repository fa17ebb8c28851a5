"""Measurements from label images: pure functions, lengths in millimetres, no files and no state."""
