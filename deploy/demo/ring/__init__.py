"""A simulated Ring. It imports nothing of ours: it is the independent judge."""
