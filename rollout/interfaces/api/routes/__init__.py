"""The routes of the API, one module for each subject. Nothing is decided here."""
