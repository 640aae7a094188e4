"""What every job stands on: the drivers, the store's lane side, sealing, logs, metrics and probes."""
