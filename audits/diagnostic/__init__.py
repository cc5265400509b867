"""The diagnostic model: reads labels off images, independently of the generator.

model = train(private, schema, config, seed)        # a small convolutional network, seconds to minutes on a CPU
model.save(folder); model = load(folder)            # safetensors and JSON, never a pickle
model = load_torchscript(path, sha256, schema)      # one that somebody else made, trusted by its digest
model.predict(pixels)["dr_grade"]                   # (n, levels) probabilities
"""

from audits.diagnostic.brought import ScriptedModel, load_torchscript
from audits.diagnostic.model import TrainedModel, load
from audits.diagnostic.training import train

__all__ = ["ScriptedModel", "TrainedModel", "load", "load_torchscript", "train"]
