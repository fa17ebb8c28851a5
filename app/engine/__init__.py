"""The program's session with the engine process."""
