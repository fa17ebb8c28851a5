"""Video encoders of the V-JEPA family."""
