"""The rules. Pure: values and functions, `now` as an argument; no library, no clock, no I/O."""
