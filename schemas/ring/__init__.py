"""All that is known of Ring's wire; no other product module knows a Ring field name."""
