// Admin tests.
