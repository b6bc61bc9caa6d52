"""``planner mcp``: tools for coding assistants. Answers are the first screen, not the document."""
