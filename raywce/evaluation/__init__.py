"""Decoding, counts of edits, and the rates derived from them."""
