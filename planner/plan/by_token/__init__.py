"""What trains nothing here and is paid by the token: prompting, retrieval, provider fine-tuning."""
