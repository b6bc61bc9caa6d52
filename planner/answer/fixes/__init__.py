"""What would make a run fit: changes of the question, each with the figure that it would bring."""
