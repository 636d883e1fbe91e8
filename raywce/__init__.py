"""raywce: a Ray-distributed search for the weighted cross-entropy that mends a low-resource language in Whisper."""

__version__ = "0.1.0"
