# SPDX-License-Identifier: Apache-2.0
"""What every test leaves behind it, and must not."""

import logging
import signal

import pytest

# A shell starts what runs in its background with SIGINT ignored, and what a test starts inherits that: it could not be
# interrupted.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def no_handlers_left():
    """Commands that are called in this process log to a stream that closes with the test; the next test's must not."""
    yield
    for logger in (logging.getLogger(), *logging.Logger.manager.loggerDict.values()):
        for handler in [*getattr(logger, "handlers", ())]:
            # Pytest's own come and go with each phase of a test.
            if isinstance(handler, logging.StreamHandler) and not type(handler).__module__.startswith("_pytest"):
                logger.removeHandler(handler)
                handler.close()
