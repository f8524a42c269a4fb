"""The parts of the report: what is computed from a run's tables, and the page that shows it."""
