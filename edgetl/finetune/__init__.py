"""Fine-tuning: stages, schedules, freezing, heads, feature cache, checkpoints, evaluation."""
