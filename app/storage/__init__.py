"""The project file, the index of cines, and label images in files."""
