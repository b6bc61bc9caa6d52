"""Tables and sentences become terminal, Markdown, HTML and plots, one file a format."""
