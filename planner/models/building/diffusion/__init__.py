"""Denoisers of images in the latent space of a frozen autoencoder, by diffusers."""
