"""Published training bills beside the planner's: rows, questions, prices, the page."""
