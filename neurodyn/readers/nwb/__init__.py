"""NWB 2 files, read and written."""
