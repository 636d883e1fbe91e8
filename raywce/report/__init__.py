"""The report of a run: its figures, read from the run folder, and the page that shows them."""
