"""Which setting is chosen, and what may be claimed: without Ray, Optuna or a screen."""
