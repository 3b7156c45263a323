"""Pipelines: YAML to jobs, one generic Snakefile."""
