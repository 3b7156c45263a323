"""Training and inference: one loop, one run folder."""
