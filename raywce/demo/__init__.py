"""A small synthetic world in six languages: sentences, speech and a model, with nothing to download."""
