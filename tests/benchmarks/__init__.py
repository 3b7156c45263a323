"""Timings against named peers: pytest -m slow -s tests/benchmarks."""
