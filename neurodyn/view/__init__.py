"""The browser window on a recording: its server, its page, and curation of cells."""
