"""Studies: grids of training runs over paired seeds, and what can be said from them.

Each ``.yaml`` file here is one study, see `sqdr.train.studies.definition`.
"""
