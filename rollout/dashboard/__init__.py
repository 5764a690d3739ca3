"""The page: server-rendered, with charts drawn on the server."""
