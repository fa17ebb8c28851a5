"""What users would do instead of the program's head, one rival a module; all offer what `base.Rival` says."""
