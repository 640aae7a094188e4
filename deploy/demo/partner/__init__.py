"""A sample partner: a login page and a service that receives events."""
