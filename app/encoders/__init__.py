"""The user's encoders: list, import and jobs."""
