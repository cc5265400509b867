"""Few-shot text-to-image: a local Stable Diffusion folder tuned on few private images, and candidates from it.

`prompts` says what the model is told, `parts` opens the folder, `tune` trains LoRA on it, `tuned` writes the folder that
comes of it, `masks` and `sources` say what candidates start from, `strategies` makes them.
"""
