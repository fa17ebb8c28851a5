"""Measurements in words: rows, sentences and plain text, without widgets."""
