"""Pure numpy measures, each with its equation and source."""
