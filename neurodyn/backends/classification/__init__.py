"""Models that say which cells respond in the horizon."""
