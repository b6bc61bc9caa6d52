"""What a model's name may be beside the name itself: old names, other spellings."""
