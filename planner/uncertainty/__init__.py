"""How sure a figure is: spreads, and the corrections that measured runs taught."""
