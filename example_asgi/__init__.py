"""A weather desk: a small Django project on ASGI that uses async_apscheduler.

Start it with `python3 example_asgi/run`. The part to read first is `weather/jobs.py`.
"""
