"""Synthetic apical echo cines with labels, volumes and phase of every frame."""

from vjepa_core.phantom.cines import PhantomBatch, PhantomSource, make_cines
from vjepa_core.phantom.geometry import A2C, A4C, VIEWS

__all__ = ["A2C", "A4C", "VIEWS", "PhantomBatch", "PhantomSource", "make_cines"]
