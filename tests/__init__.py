"""The tests: `unit/` without a database, `integration/` on each, `acceptance/` as a user does."""
