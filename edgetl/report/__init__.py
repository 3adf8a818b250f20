"""Reports for people: HTML and plots."""
