"""Hangs, with a child of its own; both are ended when the time is up."""

import subprocess
import sys
import time

subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("started a child; now waiting for something that never comes")
time.sleep(600)
