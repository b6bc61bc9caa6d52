"""What ``planner diff`` shows: the difference in a sentence, what was asked otherwise, and why."""
