"""What glancearchive costs beside the tools people would use instead, measured side by side in one run.

::

    images.py       the image set: six real Debian disk images, or a trial set of a few MB
    make.py         other things to work on: noise, very many images, copies
    cloud.py        local Glances that hold the set
    peers.py        the other tools: installation and versions
    jobs/           what is measured: jobs, and in each the commands of the contenders
    interrupted.py  a command that is killed half-way and run again
    measure.py      one command: wall time, CPU time, peak memory
    bench.py        runs jobs: what comes before, the contenders in turn, checks
    run.py          the command line; keeps every figure in a JSON file
    figures.py      that file, and medians
    aims.py         the ratios that are aimed at
    report.py       writes RESULTS.md from the figures, with plots.py; readme.py those in the README

Figures live here and never in tests: they depend on the machine. ``--trial`` runs all of it within minutes, to see
that it works.
"""
