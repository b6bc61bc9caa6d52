"""Operations that meta has no kernel for, or that a device runs as one: shapes of their results."""
