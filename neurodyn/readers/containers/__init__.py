"""Files that hold named arrays and leave to their users what they mean."""
