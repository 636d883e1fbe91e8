"""The command line: one module a command, thin adapters over the rest."""
