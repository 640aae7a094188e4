"""Seam 1: records held durably and handed to assigned lanes. `contract` says what every engine promises."""
