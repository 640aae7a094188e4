"""Ring's door: verify, publish, answer. It knows the bus and nothing else."""
