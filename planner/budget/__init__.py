"""What a project costs, as the person who pays reads it: the part ``budget`` of a document."""
