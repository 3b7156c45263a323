"""neurodyn: calcium imaging from raw movie to decoded, reported result."""
