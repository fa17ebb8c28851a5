"""Checkpoints of the V-JEPA family made into encoders of this program: read, recognise, convert."""
