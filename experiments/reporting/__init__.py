"""A report of runs, for people who were not there: one page, from what the store holds of them."""
