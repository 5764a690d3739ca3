"""The JSON Schema of plan files: python -m rollout.adapters.planfile > config/plan.schema.json."""

import json
import sys

from rollout.adapters.planfile import schema

sys.stdout.buffer.write((json.dumps(schema(), indent=2, ensure_ascii=False, sort_keys=True) + "\n").encode())
