"""Public data brought to this machine."""
