"""Alternatives to the program's head, one per module, with the interface `base.Baseline`."""
