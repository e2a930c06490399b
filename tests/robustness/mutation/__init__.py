"""Mutation testing of the kernel: are its tests able to see a wrong kernel?

A mutant is one small change in the syntax tree of one kernel module. It is killed when a test of
`tests/kernel` fails with it. The usual packages start a fresh interpreter and a fresh collection for every
mutant and want the sources copied or rewritten on disk; here every mutant is a forked child of one warm
process that gives the changed module to the import system, so that nothing on disk changes and a mutant costs
a second or two. `python -m tests.robustness.mutation --help` tells how to run it.
"""
