"""Metrics in numpy, each with its equation and source."""
