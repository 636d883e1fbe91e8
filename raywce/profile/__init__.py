"""`raywce profile`: real steps on this cluster, their time by part, and an estimate of the whole search."""
