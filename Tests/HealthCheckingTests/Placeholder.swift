// HealthChecking tests.
