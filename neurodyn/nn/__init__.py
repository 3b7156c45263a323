"""Layers and tensor functions that two or more back-ends may use."""
