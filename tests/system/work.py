# SPDX-License-Identifier: MIT
"""The program, and the one folder in which a test's VMs live, whatever else of this folder it imports."""
import os
import tempfile

os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
# The other way of machine.mmio.
TINYVMM = os.path.abspath("tests/strict" if os.environ.get("TINYVMM_TEST_MMIO") == "strict" else "build/tinyvmm")
# In memory where there is some: the tests are about disks, not about the machine's own.
WORK = tempfile.mkdtemp(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
os.environ["XDG_RUNTIME_DIR"] = WORK
os.environ["XDG_STATE_HOME"] = os.path.join(WORK, "state")
os.environ.pop("TINYVMM_RESTART", None)
