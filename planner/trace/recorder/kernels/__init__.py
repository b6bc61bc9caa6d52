"""What torch has no quick or no own way for on meta: operations by themselves."""
