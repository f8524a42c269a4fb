"""Import before NumPy in a program's entry: keeps NumPy's products on the thread that asks for them.

They are small here. Spread over threads, they wait for a core that a camera driver or the middleware holds,
and a frame of 3 ms takes 10. What the user has set stays.
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
