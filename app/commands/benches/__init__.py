"""The benchmarks of `apical bench`, one file each.

`add_arguments(parser)`, `measure(args, on_progress) -> result` and `text(result) -> str`; the result is
`{name, machine, rows, ratios}`. Nothing heavy is imported before `measure`.
"""
