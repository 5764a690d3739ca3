"""A plan file as people write it."""

PLAN = """\
version: 1
name: frontdesk-v7
numbers: ["+14157774444"]
channels: [inbound]
canary: {agent_id: agent_frontdesk, agent_version: 7}
steps:
  - {weight: 0.1, hold: 1h}
  - {weight: 1.0}
gates: []
"""
