"""Tables of numbers and categories, and series over time: what their columns are."""
