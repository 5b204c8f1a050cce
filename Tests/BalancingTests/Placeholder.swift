// Balancing tests.
