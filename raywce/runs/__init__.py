"""Files of a run, on a disk or behind a URI."""
