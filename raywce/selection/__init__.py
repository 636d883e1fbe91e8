"""The choice of a setting, and the claims on it: without Ray, Optuna or a screen."""
