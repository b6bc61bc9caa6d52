"""What providers ask for a GPU-hour: tables, offers, contracts, refreshing."""
