"""What a cell of a record holds: its texts, the kind that they are of, the turns of a conversation;
and what names of columns, keys and speakers mean."""
