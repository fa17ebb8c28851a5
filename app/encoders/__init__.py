"""The user's encoders: list, import, comparison, and their commands in child processes."""
