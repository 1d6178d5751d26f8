"""The engine of a scheduler process; web processes never import it."""
