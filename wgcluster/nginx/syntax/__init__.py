"""The words and blocks of a configuration, each with its place; edits by place."""
