"""Former location of `app.readers.open`."""

from app.readers.open import open_cine

__all__ = ["open_cine"]
