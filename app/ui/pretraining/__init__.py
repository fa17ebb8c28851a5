"""Pre-training dialog: choose cines, train, compare the encoders, keep or discard the new one."""
