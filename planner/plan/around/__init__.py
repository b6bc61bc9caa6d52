"""What the software of a run does around its steps, beyond what is traced of them."""
