"""Real OpenStack services for tests, the demo and benchmarks: Glance and Keystone under gunicorn, on loopback.

::

    environment.py   the virtual environment they run from, built once, and templates of their databases
    server.py        one gunicorn process: start, wait until ready, stop, kill, restart on the same port and data
    glance.py        a Glance with SQLite and the file store, open to all or behind a Keystone
    keystone.py      a Keystone: projects, users, roles, application credentials, catalog
    cloud.py         one Keystone with two Glances in two regions, and the clouds.yaml that leads there
    certificates.py  a throw-away CA and a server certificate
    images.py        disk images of real file systems, made on the spot

Nothing here imports pytest or the package under test.
"""
