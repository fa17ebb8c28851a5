"""What one clip costs an encoder: operations and memory, from its shape alone, free of torch.

Counted are matrix products, two operations for each product and sum: patch embedding, the maps of attention
and MLP, and the two products of all tokens with all tokens. Norms, rotations and sums are not.
"""

from __future__ import annotations

from vjepa_core.encoder.architecture import Architecture, default_depths

_FLOAT32 = 4  # bytes


def tokens_of(architecture: Architecture, frames: int, size: int) -> int:
    """Tokens of a clip of square frames.

    Raises
    ------
    ValueError
        If it does not divide into whole tokens.
    """
    if frames < 1 or size < 1 or frames % architecture.tubelet_size or size % architecture.patch_size:
        raise ValueError(
            f"{frames} frames of {size} pixels do not divide into tokens of {architecture.tubelet_size} "
            f"frames and {architecture.patch_size} pixels"
        )
    return frames // architecture.tubelet_size * (size // architecture.patch_size) ** 2


def clip_flops(architecture: Architecture, frames: int, size: int) -> int:
    """Operations of one clip (3, frames, size, size), forward; ValueError as `tokens_of`."""
    tokens = tokens_of(architecture, frames, size)
    maps = _patch_weights(architecture) + architecture.depth * _block_weights(architecture)
    attention = architecture.depth * 4 * tokens**2 * architecture.embed_dim
    return 2 * tokens * maps + attention


def weight_bytes(architecture: Architecture, matrix_bytes: int) -> int:
    """Memory of the weights.

    Parameters
    ----------
    architecture : Architecture
    matrix_bytes : int
        For each weight of a linear map or a patch embedding, its bias included: 4 in float32, 2 in bfloat16.
        Norms and learned vectors are in float32.
    """
    dim, hidden, depth = architecture.embed_dim, architecture.mlp_dim, architecture.depth
    stills = architecture.form == "vjepa21"  # which have a patch embedding of one frame beside
    patches = _patch_weights(architecture) + dim
    if stills:
        patches += _patch_weights(architecture) // architecture.tubelet_size + dim
    maps = patches + depth * (_block_weights(architecture) + 5 * dim + hidden)
    last_norms = len(default_depths(depth)) if stills else 1
    rest = (depth * 2 + last_norms) * 2 * dim + 2 * dim * stills
    return maps * matrix_bytes + rest * _FLOAT32


def clip_memory(
    architecture: Architecture, frames: int, size: int, *, matrix_bytes: int, batch: int = 1, reads: int = 4
) -> int:
    """About the most memory of a pass without gradients: weights, and what lives at once beside them.

    Parameters
    ----------
    architecture : Architecture
    frames, size : int
        Of a clip; ValueError as `tokens_of`.
    matrix_bytes : int
        See `weight_bytes`.
    batch : int
        Clips at once.
    reads : int
        Depths whose tokens are kept.
    """
    tokens, dim = tokens_of(architecture, frames, size), architecture.embed_dim
    row = dim * (2 * _FLOAT32 + matrix_bytes)  # tokens, and the same normalised, in both precisions
    rotation = dim * (4 * matrix_bytes + 3 * _FLOAT32)  # q, k and v, and one on its way through the rotation
    mlp = 2 * architecture.mlp_dim * matrix_bytes
    kept = 2 * reads * dim * _FLOAT32  # once more where they are stacked
    pixels = 3 * frames * size**2 * (2 * _FLOAT32 + matrix_bytes)
    activations = tokens * (row + max(rotation, mlp) + kept) + pixels
    return weight_bytes(architecture, matrix_bytes) + batch * activations


def _patch_weights(architecture: Architecture) -> int:
    return 3 * architecture.tubelet_size * architecture.patch_size**2 * architecture.embed_dim


def _block_weights(architecture: Architecture) -> int:
    """Of the matrices of one block: queries, keys, values, their way out, and the MLP."""
    return 4 * architecture.embed_dim**2 + 2 * architecture.embed_dim * architecture.mlp_dim
