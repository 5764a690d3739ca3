"""The JSON of rollouts, reports and timetables: written once, shown by every interface."""
