"""Models of figures over a search space, from noisy measurements of them."""
