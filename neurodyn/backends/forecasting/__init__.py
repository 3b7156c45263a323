"""Models that forecast the end of a window from what precedes it, and from the stimulus."""
