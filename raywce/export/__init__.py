"""Export of a run's model, or of an average: a transformers folder with a card, and optionally CTranslate2's format."""
