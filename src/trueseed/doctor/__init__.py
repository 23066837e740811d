"""Before a run: is everything that its file names ready? Free looks only: what would cost is said, not done."""
