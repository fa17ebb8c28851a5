"""The command line's jobs, one file each: `add_arguments(parser)` and `run(args) -> Report`."""
