"""Windows, holidays and freezes, and the timetable that follows from them."""
