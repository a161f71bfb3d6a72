"""Rewards in one file; a recipe weighs them: `reward: {accuracy: 1, "./my_reward.py:brevity": 0.2}`."""


def brevity(completion, max_new_tokens, tokens):
    """One reply at a time: 1 for an empty reply, 0 for one as long as the limit."""
    return 1 - tokens / max_new_tokens


def variety(replies):
    """A prompt's replies together: of each, the share of the others that say something else."""
    others = max(1, len(replies) - 1)
    return [sum(other != reply for other in replies) / others for reply in replies]


brevity.range = variety.range = (0.0, 1.0)  # what lies outside is said
