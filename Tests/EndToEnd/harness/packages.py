"""Packages of PyPI that some tests need and that no system has: kept with the build, fetched once.

WEIR_PYTHON_PACKAGES names another directory that has them. Offline, and without it, those tests are skipped.
"""

import fcntl
import importlib
import os
import pathlib
import subprocess
import sys

import pytest

from .weir import REPOSITORY

PINS = ["h2==4.4.1", "hpack==4.2.0", "hyperframe==6.1.0", "grpcio==1.85.3", "websockets==17.4"]
DIRECTORY = pathlib.Path(os.environ.get(
    "WEIR_PYTHON_PACKAGES", REPOSITORY / f".build/python-packages-{sys.version_info[0]}.{sys.version_info[1]}"))


def _fetch():
    """Why they cannot be had, or None."""
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    with open(DIRECTORY / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = DIRECTORY / "done"
        if done.exists() and done.read_text() == " ".join(PINS):
            return None
        try:
            result = subprocess.run(
                [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--upgrade",
                 "--target", str(DIRECTORY), *PINS], capture_output=True, timeout=180)
        except subprocess.TimeoutExpired:
            return "pip did not answer within three minutes"
        if result.returncode != 0:
            return result.stderr.decode().strip().splitlines()[-1:] or "pip failed"
        done.write_text(" ".join(PINS))
        return None


def need(*names):
    """Imports them, or skips the module that asks for them."""
    if str(DIRECTORY) not in sys.path:
        sys.path.append(str(DIRECTORY))
    try:
        return [importlib.import_module(name) for name in names]
    except ImportError:
        reason = _fetch()
    importlib.invalidate_caches()
    if reason:
        pytest.skip(f"needs {', '.join(PINS)} from PyPI: {reason}", allow_module_level=True)
    return [importlib.import_module(name) for name in names]
