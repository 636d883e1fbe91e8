"""Output on a terminal and in a log."""
