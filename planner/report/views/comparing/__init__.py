"""What ``planner compare`` shows: a question's step beside a recorded one."""
