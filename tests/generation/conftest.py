"""The tiny training of `tiny.py`, done once."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

from generation.pipeline import load
from generation.train import train


def _tiny():
    spec = importlib.util.spec_from_file_location("generation_tiny", Path(__file__).with_name("tiny.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def tiny():
    return _tiny()


@pytest.fixture(scope="session")
def private(tiny):
    return tiny.private_set()


@pytest.fixture(scope="session")
def trained(tiny, private, tmp_path_factory):
    """A finished folder, trained on one thread as in the tests that compare with it."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    folder = train(private, tiny.SCHEMA, tiny.CONFIG, seed=3, folder=tmp_path_factory.mktemp("model") / "trained")
    torch.set_num_threads(threads)
    return folder


@pytest.fixture(scope="session")
def model(trained):
    return load(trained)
