"""Loops that must go step by step, compiled; numba lives here. Numpy arrays only, one core."""
