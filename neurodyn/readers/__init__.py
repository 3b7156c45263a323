"""From any source file to a Recording, and back to files of other programs."""
