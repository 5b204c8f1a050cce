"""The one way to wait: until something that can be observed is so."""

import time


def eventually(condition, timeout=10.0, message=""):
    """Polls until `condition()` returns something true, and returns that.

    An AssertionError or OSError of the condition counts as "not yet". When the time is over the last
    value or error is shown.
    """
    deadline = time.monotonic() + timeout
    pause = 0.005
    while True:
        try:
            value = condition()
            if value:
                return value
            last = f"last value {value!r}"
        except (AssertionError, OSError) as error:
            last = f"last error {error!r}"
        if time.monotonic() >= deadline:
            raise AssertionError(f"not within {timeout} s: {message or 'the condition'}; {last}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.1)
