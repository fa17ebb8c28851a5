"""Import of V-JEPA checkpoints: read, recognise and convert them."""
