"""State and actions of the program without a user interface: project, open cines, editing, learning."""
