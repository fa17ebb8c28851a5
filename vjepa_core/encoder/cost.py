"""Operations and memory needed to encode one clip, computed from the architecture without importing torch.

Only matrix products are counted, with two operations for each multiply-add: patch embedding, the linear
layers of attention and MLP, and the two products of attention. Norms, rotations and sums are ignored.
"""

from __future__ import annotations

from vjepa_core.encoder.architecture import Architecture, default_depths

_FLOAT32 = 4  # bytes


def tokens_of(architecture: Architecture, frames: int, size: int) -> int:
    """Return the number of tokens of a clip of square frames.

    Raises
    ------
    ValueError
        If the clip does not divide into whole tokens.
    """
    if frames < 1 or size < 1 or frames % architecture.tubelet_size or size % architecture.patch_size:
        raise ValueError(
            f"{frames} frames of {size} pixels do not divide into tokens of {architecture.tubelet_size} "
            f"frames and {architecture.patch_size} pixels"
        )
    return frames // architecture.tubelet_size * (size // architecture.patch_size) ** 2


def clip_flops(architecture: Architecture, frames: int, size: int) -> int:
    """Return the floating-point operations of one forward pass of a clip (3, frames, size, size).

    Raises
    ------
    ValueError
        If the clip does not divide into whole tokens.
    """
    tokens = tokens_of(architecture, frames, size)
    linear = _patch_weights(architecture) + architecture.depth * _block_weights(architecture)
    attention = architecture.depth * 4 * tokens**2 * architecture.embed_dim
    return 2 * tokens * linear + attention


def weight_bytes(architecture: Architecture, matrix_bytes: int) -> int:
    """Return the memory of the weights in bytes.

    Parameters
    ----------
    architecture : Architecture
        Architecture of the encoder.
    matrix_bytes : int
        Bytes for each parameter of a linear layer or a patch embedding: 4 in float32, 2 in bfloat16. Norms
        and learned vectors are float32.
    """
    dim, hidden, depth = architecture.embed_dim, architecture.mlp_dim, architecture.depth
    v21 = architecture.form == "vjepa21"  # has a second patch embedding for still images
    patches = _patch_weights(architecture) + dim
    if v21:
        patches += _patch_weights(architecture) // architecture.tubelet_size + dim
    linear = patches + depth * (_block_weights(architecture) + 5 * dim + hidden)
    output_norms = len(default_depths(depth)) if v21 else 1
    other_weights = (depth * 2 + output_norms) * 2 * dim + 2 * dim * v21
    return linear * matrix_bytes + other_weights * _FLOAT32


def clip_memory(
    architecture: Architecture,
    frames: int,
    size: int,
    *,
    matrix_bytes: int,
    batch: int = 1,
    n_depths: int = 4,
) -> int:
    """Estimate the peak memory of a forward pass without gradients, weights and activations, in bytes.

    Parameters
    ----------
    architecture : Architecture
        Architecture of the encoder.
    frames, size : int
        Number of frames and side in pixels of a clip.
    matrix_bytes : int
        See `weight_bytes`.
    batch : int
        Clips in a batch.
    n_depths : int
        Number of depths whose tokens are returned.

    Raises
    ------
    ValueError
        If the clip does not divide into whole tokens.
    """
    tokens, dim = tokens_of(architecture, frames, size), architecture.embed_dim
    row = dim * (2 * _FLOAT32 + matrix_bytes)  # tokens and normalised tokens, in both precisions
    rotation = dim * (4 * matrix_bytes + 3 * _FLOAT32)  # q, k, v, and the temporary values of `rotate`
    mlp = 2 * architecture.mlp_dim * matrix_bytes
    outputs = 2 * n_depths * dim * _FLOAT32  # twice, because they are stacked
    pixels = 3 * frames * size**2 * (2 * _FLOAT32 + matrix_bytes)
    activations = tokens * (row + max(rotation, mlp) + outputs) + pixels
    return weight_bytes(architecture, matrix_bytes) + batch * activations


def _patch_weights(architecture: Architecture) -> int:
    return 3 * architecture.tubelet_size * architecture.patch_size**2 * architecture.embed_dim


def _block_weights(architecture: Architecture) -> int:
    """Return the number of matrix weights of one block: queries, keys, values, projection and MLP."""
    return 4 * architecture.embed_dim**2 + 2 * architecture.embed_dim * architecture.mlp_dim
