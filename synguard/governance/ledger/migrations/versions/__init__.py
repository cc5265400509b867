"""One module a migration, in the order of their numbers. What was released is never edited."""
