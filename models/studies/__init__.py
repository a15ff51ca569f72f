"""Studies that compare networks: what they share, and their figures."""
