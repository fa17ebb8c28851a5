"""Former location of `app.readers`, for scripts outside the project."""
