"""vLLM as a sampling backend. In go encoded prompts and the policy's weights, out come `Completion`s with vLLM's own
log-probs. Start at `opened.py`; `colocate.py` samples in this process, `server.py` on vLLM's servers, by the requests
and the weights that the other two modules prepare.
"""
