"""Train many multilayer perceptrons at once, and settle what lectures claim about them."""
