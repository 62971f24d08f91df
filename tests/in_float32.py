"""`-m tests.in_float32 STEPS <stage> <its arguments>`: a stage as on a CPU without bfloat16.

In float32 curves agree to its rounding. After STEPS steps the process kills itself; 0: it doesn't.
"""

import os
import runpy
import signal
import sys

import torch

from headstart.training import training_loop

torch.cpu.get_capabilities = dict
train_step, left = training_loop.train_step, [int(sys.argv[1])]


def step_or_die(*args):
    left[0] -= 1
    if left[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return train_step(*args)


training_loop.train_step = step_or_die
sys.argv = sys.argv[2:]
runpy.run_module(f"stages.{sys.argv[0]}", run_name="__main__")
