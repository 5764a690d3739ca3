"""The rules of rollout.domain.decide.decide, by what the rollout is doing."""
