"""Recordings, windows and scores."""
