"""Every test run keeps to loopback and to a DDS domain of its own."""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
# 1..100: above, the ports of a domain can meet those that the system hands out.
os.environ["ROS_DOMAIN_ID"] = str(os.getpid() % 100 + 1)
