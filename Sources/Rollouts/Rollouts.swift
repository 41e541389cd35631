// Room of the floor plan; see docs/development.md.
