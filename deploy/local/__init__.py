"""A real Apache Kafka and a real PostgreSQL on free loopback ports, for tests, benches and first tries."""
