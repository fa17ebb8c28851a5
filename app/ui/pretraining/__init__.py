"""Pre-train on my cines: choose them, watch the training, see before and after, keep or throw away."""
