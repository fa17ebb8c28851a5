"""Dialog of the encoders: list, timing, comparison, import."""
