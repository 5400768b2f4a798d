"""The paper's experiments (sections 4.4 to 4.8), each one command: `python -m train.experiments NAME --photos DIR`."""
