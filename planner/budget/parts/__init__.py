"""Parts of a budget that an answer's figures, its rules and tables say."""
