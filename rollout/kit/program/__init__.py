"""The program inside a kit, in parts that `rollout.kit.build` joins into one file.

Everything here must run on Python 3.8 with the standard library alone and import nothing of rollout but
its own parts.
"""
