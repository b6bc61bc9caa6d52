"""What a trained model does without training: forward passes, and text written token by token."""
