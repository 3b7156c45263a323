"""Fitting, run folders and inference: one way for every back-end."""
