"""`python -m raywce`: the same as the `raywce` command."""

from __future__ import annotations

from raywce.cli import main

if __name__ == "__main__":
    main()
