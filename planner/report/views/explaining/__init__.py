"""What ``planner explain`` shows: where a step's time and memory go, what changes would buy."""
