"""What every test shares."""

import os

# Two cores are shared by the tests and by the processes that they start.
os.environ.setdefault("OMP_NUM_THREADS", "1")
