"""Names of the files of pre-training, also for programs that must not import torch."""

from __future__ import annotations

CONFIG = "config.json"
"""In a run's folder: the configuration."""
CHECKPOINT = "checkpoint.pt"
"""In a run's folder: weights and the state of the optimiser."""
LOG = "log.jsonl"
"""In a run's folder: one JSON object for each step."""
INDEX = "index.json"
"""In the folder of a packed set: its cines."""
