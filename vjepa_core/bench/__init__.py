"""Benchmarks of the learning core against its peers, in one run; they need neither Qt nor DICOM."""
