"""The whole flow on one machine, without Ring and without a partner."""
