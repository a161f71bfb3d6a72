"""The report of a run, or of several compared. In go run folders, out come a page, a curve and a table. Start at
`report.py`, which fills `report.html.jinja` with what the other modules read off the logs.
"""
