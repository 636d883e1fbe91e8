"""Ray without Tune: joining, capacity, trainers."""
