"""Configuration of the back-ends, and what each refuses; known without torch."""
