"""The same cells in several sessions: fields aligned, cells paired by a probability, identities over all sessions."""
