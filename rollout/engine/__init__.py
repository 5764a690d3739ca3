"""The engine: carries decisions out, and sees the outside through its own ports only."""
