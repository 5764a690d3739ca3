"""The rules of rollout.domain.decide, by what the rollout is doing."""
