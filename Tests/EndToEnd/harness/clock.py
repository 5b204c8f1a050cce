"""A wall clock that belongs to one Weir, to be stepped while it runs; see wall_clock.c."""

import os
import shutil
import struct
import subprocess


class WallClock:
    """Weir starts behind `prefix`; `step` moves its CLOCK_REALTIME, and nothing else on the machine."""

    def __init__(self, directory):
        compiler = shutil.which("cc") or shutil.which("clang")
        assert compiler, "a C compiler comes with Swift"
        library = os.path.join(str(directory), "wall_clock.so")
        source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "wall_clock.c")
        subprocess.run(
            [compiler, "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", library, source, "-ldl"],
            stdin=subprocess.DEVNULL, check=True, timeout=60)
        path = os.path.join(str(directory), "wall_clock")
        self._file = open(path, "wb+", buffering=0)
        self.step(0)
        self.prefix = ("env", f"LD_PRELOAD={library}", f"WEIR_TEST_WALL_CLOCK={path}")

    def step(self, seconds):
        """Sets the clock to so many seconds from the right time; negative is the past."""
        self._file.seek(0)
        self._file.write(struct.pack("q", seconds))
