"""Models that others are compared with; one file per model."""
