"""Client of the engine process."""
