"""A conversation becomes the text that a model is trained on: the model's own chat template is
rendered where its folder has one, otherwise that of its family; and the text becomes tokens."""
