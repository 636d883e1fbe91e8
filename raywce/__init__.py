"""raywce: a Ray-distributed search for the weighted cross-entropy that improves a low-resource language in Whisper."""

__version__ = "0.1.0"
