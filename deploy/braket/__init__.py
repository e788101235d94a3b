"""The paid side: circuits packed into quantum tasks, a journal written ahead, and the calls to Amazon Braket.

request -> packing -> runner -> service (the Braket SDK) -> results, and every step of it in the journal.
"""
