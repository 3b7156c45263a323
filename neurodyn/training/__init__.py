"""Training and inference: one LightningModule, one run folder."""
