"""The fault harness: what is interrupted, cut off, worn out or lied to, and what is left afterwards.

::

    storage.py    records what a writer does to its medium; makes of it the states that kills and power cuts leave
    subject.py    a small dump without a server: the same calls again and again, and what must come of them
    zygote.py     real processes of the program that start in milliseconds, to be killed by the hundred
    world.py      a Glance to dump or to load into, and what may never be seen there
    media.py      file systems on loop devices, and disks by FUSE (fuse_disk.py) that fail or lie about their size
    wire.py       a TCP proxy that counts, cuts and delays
    soak.py       ``python -m tests.faults.soak --minutes N --seed S``: random kills for as long as asked

docs/faults.md says what was found, one row per fault.
"""
