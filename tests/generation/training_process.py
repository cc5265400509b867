"""Trains the tiny model in processes that kill themselves: run by test_train.py, not by hand.

Reads lines "folder checkpoint_every phase number" and answers each with the exit status of a fork that trained so. Nothing
is computed before the forks, so that each starts as a fresh process would, without the seconds that the imports take.
"""

import os
import signal
import sys
from pathlib import Path

import torch
from tiny import CONFIG, SCHEMA, private_set

from generation.train import train


def train_and_die(folder: Path, every: int, phase: str, number: int) -> None:
    """Kills itself after a step of a phase, or (phase "replace") before it puts the n-th file into its place."""
    replaced = 0
    replace = Path.replace

    def progress(now, done, _total):
        if (now, done) == (phase, number):
            os.kill(os.getpid(), signal.SIGKILL)

    def counted(self, target):
        nonlocal replaced
        replaced += 1
        if (phase, number) == ("replace", replaced):
            os.kill(os.getpid(), signal.SIGKILL)
        return replace(self, target)

    Path.replace = counted
    train(private_set(), SCHEMA, CONFIG, seed=3, folder=folder, checkpoint_every=every, progress=progress)


if __name__ == "__main__":
    torch.set_num_threads(1)
    for line in sys.stdin:
        folder, every, phase, number = line.split("\t")
        if (child := os.fork()) == 0:
            train_and_die(Path(folder), int(every), phase, int(number))
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
