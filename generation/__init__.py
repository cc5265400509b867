"""Conditional latent diffusion: conditions, autoencoder, denoiser, training, sampling, pipeline folders."""
