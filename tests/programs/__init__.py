"""Programs: expressions, templates, and the plans of declarative nodes."""
