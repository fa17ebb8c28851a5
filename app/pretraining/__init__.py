"""Pre-training on the user's cines: packing, estimates and runs."""
