"""Augmentation on the device; how a draw of an utterance sounds follows from its key alone."""
