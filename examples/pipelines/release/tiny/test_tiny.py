"""What the package promises."""

import unittest

from tiny import count


class Words(unittest.TestCase):
    """Words are what stands between spaces."""

    def test_words_are_counted(self) -> None:
        """Several spaces are one."""
        self.assertEqual(count(" a  b\nc "), 3)
