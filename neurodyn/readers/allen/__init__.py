"""Sessions of the Allen Brain Observatory, in NWB 1 and 2."""
