"""Export of a run's model: a transformers folder with a model card, and optionally CTranslate2's format."""
