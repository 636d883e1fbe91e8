"""Speech: preparing, reading, sampling and batching it."""
