"""Recordings and runs that tests of training share."""

from tests.training.conftest import curves, curves_prediction, curves_run, movie, traces

__all__ = ["curves", "curves_prediction", "curves_run", "movie", "traces"]
