"""How the built-in model was made: drawn scenes, an exact teacher, and the training of a student.

Nothing else in the package imports this; it needs PyTorch, and a GPU to be of use. `python -m
autogaze_ros.training` (or ``make train``) runs the recipe.
"""
