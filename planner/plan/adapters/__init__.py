"""What another of PEFT's methods than LoRA makes of a question."""
