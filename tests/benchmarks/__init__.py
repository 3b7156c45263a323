"""Timings against named peers: pytest -m slow -n 0 -s tests/benchmarks."""
