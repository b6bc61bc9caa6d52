"""`planner compare`: our step of a question beside one that was recorded, time or memory."""
