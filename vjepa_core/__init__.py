"""Encoders, pre-training and few-shot segmentation: arrays in, arrays out."""

import os

# Read when torch is first imported. Threads that spin while waiting compete for the cores: on two busy cores
# one step of a fit took twenty times as long.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
