"""Faults between the runner and the sandbox: the proxy, the kinds of faults, and what each must lead to."""
