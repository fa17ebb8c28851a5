"""The encoders of this machine: which is used, how fast and how good each is, and new ones."""
