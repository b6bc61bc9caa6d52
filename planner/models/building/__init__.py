"""Facts become a module on torch's meta device, its batch and its loss."""
