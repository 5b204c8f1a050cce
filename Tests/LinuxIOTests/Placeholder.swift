// LinuxIO tests.
