"""`-m tests.in_float32 STEPS <stage> <its arguments>`: runs a stage as on a CPU without bfloat16.

In float32, curves agree up to rounding. The process kills itself after STEPS steps, unless that is
0.
"""

import os
import runpy
import signal
import sys

import torch

from headstart.training import training_loop

torch.cpu.get_capabilities = dict
train_step, steps_left = training_loop.train_step, [int(sys.argv[1])]


def train_step_or_die(*args):
    steps_left[0] -= 1
    if steps_left[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return train_step(*args)


training_loop.train_step = train_step_or_die
sys.argv = sys.argv[2:]
runpy.run_module(f"stages.{sys.argv[0]}", run_name="__main__")
