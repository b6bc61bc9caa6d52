"""What torch.compile makes of a model's parts."""
