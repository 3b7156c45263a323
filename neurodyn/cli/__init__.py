"""The command line: Typer only, no science."""
