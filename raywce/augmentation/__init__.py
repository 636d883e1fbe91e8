"""Augmentation on the device: what a draw of an utterance sounds like follows from its key alone."""
