"""Operations that a device runs and meta tensors cannot."""
