// ControlPlane tests.
