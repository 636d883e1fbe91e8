"""What a run leaves on disk, here or behind a URI."""
