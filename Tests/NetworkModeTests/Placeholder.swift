// NetworkMode tests.
