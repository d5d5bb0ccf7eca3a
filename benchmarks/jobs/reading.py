"""Jobs that read what was stored: verify, extract, list."""

from __future__ import annotations

from benchmarks.jobs.local import BORG, RESTIC, TAR
from benchmarks.jobs.model import ARCHIVE, FILES, OURS, Contender, Job

DUMPED = ("dump/" + OURS,)
LARGE = ("material/archive that does not compress",)
MANY = ("material/many images",)

VERIFY = Job(
    "verify",
    "Full verify of what was stored",
    (
        Contender(OURS, f"$GLANCEARCHIVE verify {ARCHIVE}", warm=("ours",), needs=DUMPED),
        Contender("zstd -t of the archive", f"zstd -q -t {ARCHIVE}", warm=("ours",), needs=DUMPED),
        Contender(
            "restic check --read-data",
            "restic check --quiet --read-data",
            warm=("restic",),
            needs=("pack/" + RESTIC,),
        ),
        Contender(
            "borg check --verify-data",
            "borg check --verify-data",
            warm=("borg",),
            needs=("pack/" + BORG,),
            quick=False,
        ),
    ),
    note="zstd -t checks checksums of compressed frames only; restic and borg check the bytes of their own chunks.",
)

QUICK = Job(
    "quick",
    "Quick verify of a large archive",
    (
        Contender(
            OURS,
            "$GLANCEARCHIVE verify --quick $WORK/large/images.gla",
            stored="large",
            warm=("large",),
            needs=LARGE,
        ),
        Contender("b3sum of the archive", "b3sum $WORK/large/images.gla", stored="large", warm=("large",), needs=LARGE),
    ),
    note="The archive holds {large:,} bytes of noise, dumped with --level fast. b3sum maps the file: its memory is the "
    "page cache.",
)

HASH = Job(
    "hash",
    "Verify with Glance's SHA-512 recomputed",
    (
        Contender(OURS, f"$GLANCEARCHIVE verify --glance-hash {ARCHIVE}", warm=("ours",), needs=DUMPED),
        Contender(
            "sha512sum of the images, 2 at a time",
            f"cd $IMAGES && ls -S {FILES} | xargs -P2 -n1 sha512sum",
        ),
    ),
)

EXTRACTED = "printf '%s\\n' $UPLOADS | xargs -n2 sh -c 'cmp $WORK/extracted/$0.img $1'"
EXTRACT = Job(
    "extract",
    "All images back as files",
    (
        Contender(
            OURS,
            f"$GLANCEARCHIVE extract {ARCHIVE} -o $WORK/extracted",
            outputs=("extracted",),
            prepare="mkdir $WORK/extracted",
            warm=("ours",),
            needs=DUMPED,
            check=EXTRACTED,
        ),
        Contender(
            OURS + " --glance-hash",
            f"$GLANCEARCHIVE extract --glance-hash {ARCHIVE} -o $WORK/extracted",
            outputs=("extracted",),
            prepare="mkdir $WORK/extracted",
            warm=("ours",),
            needs=DUMPED,
            check=EXTRACTED,
        ),
        Contender(
            "restic restore",
            "restic restore --quiet latest --target $WORK/restored",
            outputs=("restored",),
            warm=("restic",),
            needs=("pack/" + RESTIC,),
        ),
        Contender(
            "borg extract --sparse",
            "mkdir $WORK/unborged && cd $WORK/unborged && borg extract --sparse ::images",
            outputs=("unborged",),
            warm=("borg",),
            needs=("pack/" + BORG,),
            quick=False,
        ),
        Contender(
            "zstd -d | tar -x",
            "zstd -q -d -c $WORK/images.tar.zst | tar -xf - -C $WORK/untarred",
            outputs=("untarred",),
            prepare="mkdir $WORK/untarred",
            warm=("images.tar.zst",),
            needs=("pack/" + TAR,),
            quick=False,
        ),
    ),
    note="glancearchive proves each block, and each image by its BLAKE3 image digest, before it releases a file; with "
    "--glance-hash it also recomputes the SHA-512 that Glance states. The others check the bytes of their own chunks.",
)

ONE = Job(
    "one",
    "One image of them (db.raw) back as a file",
    (
        Contender(
            OURS,
            f"$GLANCEARCHIVE extract {ARCHIVE} $ONE -o $WORK/one.raw",
            outputs=("one.raw",),
            warm=("ours",),
            needs=DUMPED,
            check="cmp $WORK/one.raw $IMAGES/db.raw",
        ),
        Contender(
            OURS + " --glance-hash",
            f"$GLANCEARCHIVE extract --glance-hash {ARCHIVE} $ONE -o $WORK/one.raw",
            outputs=("one.raw",),
            warm=("ours",),
            needs=DUMPED,
            check="cmp $WORK/one.raw $IMAGES/db.raw",
        ),
        Contender(
            "restic restore --include",
            "restic restore --quiet latest --include /db.raw --target $WORK/restored",
            outputs=("restored",),
            warm=("restic",),
            needs=("pack/" + RESTIC,),
            check="cmp $WORK/restored/db.raw $IMAGES/db.raw",
        ),
        Contender(
            "borg extract --sparse",
            "mkdir $WORK/unborged && cd $WORK/unborged && borg extract --sparse ::images db.raw",
            outputs=("unborged",),
            warm=("borg",),
            needs=("pack/" + BORG,),
            check="cmp $WORK/unborged/db.raw $IMAGES/db.raw",
            quick=False,
        ),
    ),
)

LIST = Job(
    "list",
    "Open and list an archive of {many:,} images",
    (
        Contender(
            OURS,
            "$GLANCEARCHIVE list --json $WORK/many/images.gla",
            stored="many/images.gla",
            warm=("many/images.gla",),
            needs=MANY,
            check="test $($GLANCEARCHIVE list --json $WORK/many/images.gla | grep -c '\"os_hash_value\"') = $MANY",
        ),
        Contender(
            "glancearchive.open in Python",
            '$PYTHON -c "import glancearchive, sys; print(len(glancearchive.open(sys.argv[1])))" $WORK/many/images.gla',
            stored="many/images.gla",
            warm=("many/images.gla",),
            needs=MANY,
        ),
        Contender(
            "restic ls --json",
            "restic --repo $WORK/many-restic ls --quiet --json latest",
            stored="many-restic",
            warm=("many-restic",),
            needs=("material/restic of many images",),
        ),
        Contender(
            "borg list --json-lines",
            "borg list --json-lines $WORK/many-borg::many",
            stored="many-borg",
            warm=("many-borg",),
            needs=("material/borg of many images",),
            quick=False,
        ),
    ),
    note="Each image is one block of 4 KiB of noise with the metadata that a Glance states. restic and borg list one "
    "snapshot with the same data as files: they know name, size, owner, mode and times of each. Each prints one JSON "
    "object per image.",
)
