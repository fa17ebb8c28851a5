"""Settings shared by the benchmarks of pre-training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from app.domain.errors import ApicalError

if TYPE_CHECKING:
    from vjepa_core.pretraining.config import PretrainConfig


def config_for(file: Path | None) -> PretrainConfig:
    """Return the default configuration of `apical pretrain` on this machine, changed by a file."""
    import torch

    from vjepa_core.pretraining.config import PretrainConfig, read_config, small_config

    config = PretrainConfig() if torch.cuda.is_available() else small_config()
    return config if file is None else read_config(file, config)


def must_exist(paths: Sequence[Path]) -> None:
    """Raise ApicalError for a path that does not exist."""
    for path in paths:
        if not path.exists():
            raise ApicalError(f"{path} does not exist; check the path.")
