"""The report: what it holds (``contents``), the page that people read, and the files that machines read."""
