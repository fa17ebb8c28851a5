"""Benchmarks of the program against its peers, each printing ratios from one run."""
