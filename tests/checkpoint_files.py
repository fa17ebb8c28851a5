"""Small checkpoints with the names, shapes and containers of each published release of the V-JEPA family.

They follow the published layouts, not the program's encoder.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

Form = Literal["vjepa1", "vjepa2", "vjepa21"]
Shapes = dict[str, tuple[int, ...]]
State = dict[str, Tensor]

WIDTH, DEPTH, HIDDEN, SIDE = 128, 4, 256, 32
"""Size of the encoder in all files; it has two attention heads."""

FILES: dict[str, str] = {
    "v-jepa": "vitl16.pth.tar",
    "v-jepa-2": "vitl.pt",
    "v-jepa-2.1": "vjepa2_1_vitb_dist_vitG_384.pt",
    "v-jepa-2.1-giant": "vjepa2_1_vitg_384.pt",
    "echojepa": "vitl-kinetics-pt220-an55.pt",
    "hugging-face": "model.safetensors",
    "hugging-face-shards": "model.safetensors.index.json",
}
"""Published file name of each kind of checkpoint."""

ARCHITECTURES: dict[str, str] = {
    "v-jepa": f"vit_w128d4h2m256_patch16_{SIDE}_t2.vjepa1",
    "v-jepa-2": "vit_w128d4h2m256_patch16_256_t2.vjepa2",
    "v-jepa-2.1": "vit_w128d4h2m256_patch16_384_t2",
    "v-jepa-2.1-giant": "vit_w128d4h2m256_patch16_384_t2",
    "echojepa": "vit_w128d4h2m256_patch16_256_t2.vjepa2",
    "hugging-face": "vit_w128d4h2m256_patch16_32_t2.vjepa2",
    "hugging-face-shards": "vit_w128d4h2m256_patch16_32_t2.vjepa2",
}


def weight_shapes(width: int, depth: int, hidden: int, form: Form, tokens: int = 0) -> Shapes:
    """Return names and shapes of V-JEPA's encoder; `tokens` is the length of a stored position table."""
    found: Shapes = {"pos_embed": (1, tokens, width)} if tokens else {}

    def add(name: str, *shape: int) -> None:
        found[f"{name}.weight"] = shape
        found[f"{name}.bias"] = shape[:1]

    add("patch_embed.proj", width, 3, 2, 16, 16)
    if form == "vjepa21":
        add("patch_embed_img.proj", width, 3, 1, 16, 16)
        found |= {"img_mod_embed": (1, 1, width), "video_mod_embed": (1, 1, width)}
    for i in range(depth):
        add(f"blocks.{i}.norm1", width)
        add(f"blocks.{i}.attn.qkv", 3 * width, width)
        add(f"blocks.{i}.attn.proj", width, width)
        add(f"blocks.{i}.norm2", width)
        add(f"blocks.{i}.mlp.fc1", hidden, width)
        add(f"blocks.{i}.mlp.fc2", width, hidden)
    for name in [f"norms_block.{k}" for k in range(4)] if form == "vjepa21" else ["norm"]:
        add(name, width)
    return found


def random_weights(of: Shapes, seed: int = 0, dtype: torch.dtype = torch.float32) -> State:
    """Return small random weights, with the position table of V-JEPA 1."""
    generator = torch.Generator().manual_seed(seed)
    weights = {name: (torch.randn(shape, generator=generator) * 0.1).to(dtype) for name, shape in of.items()}
    if "pos_embed" in of:
        weights["pos_embed"] = position_table(*of["pos_embed"][1:]).to(dtype)
    return weights


def empty_weights(of: Shapes) -> State:
    """Return weights of any size that need no memory."""
    return {name: torch.zeros(()).expand(shape) for name, shape in of.items()}


def position_table(tokens: int, width: int) -> Tensor:
    """Return sines and cosines of the positions of 16 frames, (1, tokens, width)."""
    half, side = math.ceil(width / 6), math.isqrt(tokens // 8)
    waves = np.array([10000 ** (-k / half) for k in range(half)])
    number = np.arange(8 * side * side)  # time, height, width
    columns = []
    for index in (number // side**2, number // side % side, number % side):
        angles = np.outer(index, waves)
        columns += [np.sin(angles), np.cos(angles)]
    return torch.from_numpy(np.hstack(columns)[None, :, :width]).float()


def hugging_face_names(weights: State) -> State:
    """Return the same weights under Hugging Face's names, with separate queries, keys and values."""
    found: State = {}
    for name, value in weights.items():
        new = name.replace("patch_embed.", "embeddings.patch_embeddings.").replace("blocks.", "layer.")
        new = "encoder." + new.replace(".attn.", ".attention.")
        new = new.replace("encoder.norm.", "encoder.layernorm.")
        if ".qkv." in new:
            parts = zip(("query", "key", "value"), value.chunk(3), strict=True)
            found |= {new.replace("qkv", part): rows.contiguous() for part, rows in parts}
        else:
            found[new] = value
    return found


def with_training_prefix(weights: State) -> State:
    """Return the weights under the names that distributed training gives them."""
    return {f"module.backbone.{name}": value for name, value in weights.items()}


def predictor() -> State:
    """Return a part of a predictor, which every published file contains in addition to the encoder."""
    return with_training_prefix(
        {"predictor_embed.weight": torch.zeros(8, WIDTH), "mask_tokens.0": torch.zeros(1, 1, 8)}
    )


def weights_of(kind: str, dtype: torch.dtype = torch.float32) -> State:
    """Return the weights of a kind of checkpoint under V-JEPA's names."""
    form: Form = "vjepa2"
    if kind.startswith("v-jepa-2.1"):
        form = "vjepa21"
    elif kind == "v-jepa":
        form = "vjepa1"
    tokens = 8 * (SIDE // 16) ** 2 if kind in ("v-jepa", "v-jepa-2", "echojepa") else 0
    return random_weights(weight_shapes(WIDTH, DEPTH, HIDDEN, form, tokens), len(kind), dtype)


def write(
    kind: str,
    folder: Path,
    name: str | None = None,
    *,
    change: Callable[[State], State] = lambda weights: weights,
    dtype: torch.dtype = torch.float32,
) -> Path:
    """Write a small checkpoint and return the path that a user would choose.

    Parameters
    ----------
    kind : str
        One of `FILES`.
    folder : Path
        Created if it does not exist.
    name : str, optional
        File name; default the published one.
    change : callable
        Applied to the encoder's weights under V-JEPA's names.
    dtype : torch.dtype
        Type of all weights.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / (name or FILES[kind])
    weights = change(weights_of(kind, dtype))
    if kind.startswith("hugging-face"):
        flat = hugging_face_names(weights) | {"predictor.layernorm.weight": torch.zeros(8)}
        config: dict[str, Any] = {"model_type": "vjepa2", "crop_size": SIDE, "num_attention_heads": 2}
        (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
        if kind == "hugging-face":
            save_file(flat, path)
        else:
            _write_shards(flat, path)
        return path
    average = "ema_encoder" if kind == "v-jepa-2.1" else "target_encoder"
    other = {name: torch.zeros_like(value) for name, value in weights.items()}
    content = {
        "encoder": with_training_prefix(other),
        "predictor": predictor(),
        "opt": {"state": {0: {"step": 5, "exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 1e-3}]},
        "scaler": None,
        average: with_training_prefix(weights),
        "epoch": 300,
        "loss": 0.4,
        "lr": 1e-6,
    }
    torch.save(content, path)
    return path


def _write_shards(flat: State, index: Path) -> None:
    names = sorted(flat)
    file_of: dict[str, str] = {}
    for number, part in enumerate((names[::2], names[1::2]), 1):
        file = f"model-{number:05}-of-00002.safetensors"
        save_file({name: flat[name] for name in part}, index.with_name(file))
        file_of |= dict.fromkeys(part, file)
    index.write_text(json.dumps({"metadata": {}, "weight_map": file_of}), encoding="utf-8")
