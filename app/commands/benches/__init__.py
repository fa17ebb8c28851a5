"""Benchmarks of `apical bench`, one module each.

Each has `add_arguments(parser)`, `measure(args, on_progress) -> result` and `text(result) -> str`. The result
is a dictionary `{name, machine, rows, ratios}`. Large libraries are imported only in `measure`.
"""
