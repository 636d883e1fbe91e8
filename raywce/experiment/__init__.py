"""The experiment file: the only part that knows YAML."""
