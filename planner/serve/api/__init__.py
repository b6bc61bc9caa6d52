"""The API of ``planner serve``: paths, what is refused before them, and the answers."""
