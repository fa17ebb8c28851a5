"""Apical: desktop program and command line for the segmentation of echocardiography cines."""
