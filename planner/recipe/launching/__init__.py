"""How a recipe is started on its devices, and how these share the model."""
