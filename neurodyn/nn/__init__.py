"""Layers that two or more back-ends use."""
