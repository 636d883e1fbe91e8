"""A run's model as a folder to use: transformers' form, a model card, and CTranslate2's form beside it."""
