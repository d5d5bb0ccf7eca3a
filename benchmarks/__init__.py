"""What glancearchive costs beside the tools people would use instead, measured side by side in one run.

::

    images.py    the image set: six real Debian disk images
    cloud.py     local Glances that hold it
    peers.py     the other tools: installation and versions
    jobs.py      what is measured: jobs, and in each the commands of the contenders
    aims.py      the ratios that are aimed at
    measure.py   one command: wall time, CPU time, peak memory
    run.py       runs the jobs in alternation and keeps every figure in a JSON file
    report.py    writes RESULTS.md from that file

Figures live here and never in tests: they depend on the machine.
"""
