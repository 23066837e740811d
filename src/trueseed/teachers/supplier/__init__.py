"""What a maker may be told of our use, and what it says of it."""
