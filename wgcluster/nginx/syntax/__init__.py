"""The words and blocks of a configuration with their positions, and edits at positions."""
