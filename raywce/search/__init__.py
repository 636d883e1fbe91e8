"""The search: phases, sampler, constraints and tables, on Ray Tune and Optuna."""
