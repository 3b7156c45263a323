"""Errors, registry, configuration, provenance, logging and safe files: what every room stands on."""
