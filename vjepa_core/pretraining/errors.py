"""What can go wrong with a run, in sentences that a user may read."""

from __future__ import annotations

from vjepa_core.errors import CoreError


class PretrainingError(CoreError):
    """A configuration, a run folder or a loss that training cannot go on with."""
