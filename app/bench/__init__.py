"""Parts of the benchmarks that need the program's readers or engine."""
