"""Files on a disk or behind a URI: read, replaced whole, copied to a node; and their failures."""
