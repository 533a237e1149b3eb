"""Lines of ours put into the files of a site, and taken out again."""
