"""What runs behind the ingress: the bus, the runtime and the jobs on them."""
