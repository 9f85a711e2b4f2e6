"""From frames to the score of a window: captures, graphs, the network, and the callbacks that train it."""
