"""The one app of the example: weather stations, what they report, and the jobs that ask them."""
