"""Errors of pre-training, with messages for the user."""

from __future__ import annotations

from vjepa_core.errors import CoreError


class PretrainingError(CoreError):
    """Training cannot continue because of the configuration, the run folder or the loss."""
