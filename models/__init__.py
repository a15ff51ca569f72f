# SPDX-License-Identifier: Apache-2.0
"""Networks of CoDeNet in PyTorch: training, quantization, evaluation, and export to graphs of integers."""

import os as _os
import signal as _signal
import sys as _sys

# ``python -m models.COMMAND`` imports this first, and PyTorch for seconds after it: Ctrl-C is one line by then, too.
if _sys.argv[:1] == ["-m"] and _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
    _signal.signal(_signal.SIGINT, lambda *_: (_os.write(2, b"models: interrupted\n"), _os._exit(130)))
