"""What families of models ask of a question: images beside text, experts."""
