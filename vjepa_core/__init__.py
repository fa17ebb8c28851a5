"""The learning core: arrays in, arrays out."""

import os

# Read when torch is first imported. Threads that spin while they wait take the cores from each other: on two
# busy cores a step of a fit took twenty times as long.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
