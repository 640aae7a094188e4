"""Ring, simulated: the independent judge of all that ringhook says to Ring and hears from it.

Written only from Ring's documents and recorded deliveries; imports nothing of ringhook, its schemas neither.
"""
