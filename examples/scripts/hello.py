"""Says hello, in the words of the environment."""

import os

print(os.environ["GREETING"], "from", os.environ["DIRIGENT_TASK"])
