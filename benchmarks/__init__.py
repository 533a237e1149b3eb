"""What it costs, measured against peers in one run; README.md holds the tables."""
