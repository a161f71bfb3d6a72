"""Other people's trainers and harnesses load our folders and pay our rewards: `make test-consumers`. Each runs in an
environment of its own under build/consumers, outside the ordinary tests (`run.py`).
"""
