"""The run folder: its configuration, its recordings cut to windows, and its prediction; no torch."""
