"""Charts of a document as Vega-Lite specifications, drawn in a browser or as pictures."""
