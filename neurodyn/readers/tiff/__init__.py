"""TIFF movies, one file or many."""
