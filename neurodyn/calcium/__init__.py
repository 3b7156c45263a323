"""The calcium of single traces: indicators' kinetics, autoregressive models and spikes; oasis lives here."""
