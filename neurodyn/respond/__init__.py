"""What cells do when something happens: aligned responses, tuning, and which of it is more than chance."""
