"""``python -m example_project.attended MODULE …`` runs a module for as long as its starter lives.

The starter holds the other end of our standard input. However it ends, killed outright included,
the system closes that end, and then we end too: nothing is left running with nobody to stop it.
"""

import os
import runpy
import signal
import sys
import threading
import time
from typing import Final

GRACE: Final = 10.0  # seconds between asking the module to end and ending it


def end_when_left_alone() -> None:
    while os.read(0, 1024):
        pass
    # To the main thread: there it interrupts a wait at once.
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
    time.sleep(GRACE)
    os._exit(1)


def main() -> None:
    module = sys.argv[1]
    del sys.argv[0]
    threading.Thread(target=end_when_left_alone, name="attended", daemon=True).start()
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
