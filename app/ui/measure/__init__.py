"""Measurements in the window: panel, pictures of both phases, volume curve, landmarks, calibration."""
