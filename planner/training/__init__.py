"""What trains and how: a strategy and every choice of a recipe that changes a trace."""
