"""A trial without a network: it takes its parameters as the real one does, and scores them.

Arguments: the seconds it takes, and the number of the trial that crashes.
"""

import os
import sys
import time

import nni

from nni_evanet.architecture import Architecture
from nni_evanet.compat import receive_parameters

architecture = Architecture.from_sample(receive_parameters())
time.sleep(float(sys.argv[1]))
if os.environ["NNI_TRIAL_SEQ_ID"] == sys.argv[2]:
    sys.exit("this trial was told to crash")
score = 1 / sum(module.repeats for module in architecture.modules)
nni.report_final_result({"default": score, "fingerprint": architecture.fingerprint})
