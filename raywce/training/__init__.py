"""One trial: the step, its checkpoints, and Ray Train around them."""
