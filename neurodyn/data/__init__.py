"""Recordings, windows, scores, and one reader or writer per format."""
