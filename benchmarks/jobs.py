"""What is measured: jobs, each with contenders that do the same work.

Commands are what an operator types, in the variables that run.py sets: $GLANCEARCHIVE (how to
start it), $GLANCE and $TARGET (URLs of the Glance that holds the set and of a fresh one), $IDS
and $UPLOADS (image ids, and "id path" pairs; largest first), $IMAGES (the set's directory)
and $WORK (everything written). Each gets the settings its own manual recommends or has as default.
"""

from __future__ import annotations

from dataclasses import dataclass

OURS = "glancearchive"
ARCHIVE = "ours/images.gla"


@dataclass(frozen=True)
class Contender:
    """One command. `outputs` and `stored` are relative to $WORK.

    Before each run `outputs` are deleted and `prepare` is run, unmeasured; after it they are deleted unless `keep`.
    `check` judges the first run, unmeasured.
    `warm` is read into the page cache first. `needs` names contenders ("job/name") whose kept output it works on.
    `target`: a fresh Glance is at $TARGET; "queued": with the images created, without data. `slow`: fewer runs.
    """

    name: str
    command: str
    outputs: tuple[str, ...] = ()
    prepare: str = ""
    keep: bool = False
    stored: str = ""
    warm: tuple[str, ...] = ("images",)
    needs: tuple[str, ...] = ()
    check: str = ""
    target: str = ""
    slow: bool = False
    quick: bool = True

    @property
    def ours(self) -> bool:
        """Whether it runs glancearchive or works on its archive."""
        return "$GLANCEARCHIVE" in self.command or any(need.endswith("/" + OURS) for need in self.needs)


@dataclass(frozen=True)
class Job:
    name: str
    title: str
    contenders: tuple[Contender, ...]
    note: str = ""


OPENSTACK = "openstack --os-auth-type none --os-endpoint $GLANCE"
DOWNLOAD = "curl -sSf $GLANCE/v2/images/{}/file"

DUMP = Job(
    "dump",
    "Everything out of Glance",
    (
        Contender(
            OURS,
            f"$GLANCEARCHIVE dump $GLANCE $WORK/{ARCHIVE}",
            outputs=("ours",),
            prepare="mkdir $WORK/ours",
            keep=True,
            stored="ours",
            warm=("source",),
        ),
        Contender(
            "curl | openssl, 2 at a time",
            f"printf '%s\\n' $IDS | xargs -P2 -I{{}} sh -c '{DOWNLOAD} | openssl dgst -sha512'",
            warm=("source",),
        ),
        Contender(
            "openstack image save, one by one",
            f"for id in $IDS; do {OPENSTACK} image save --file $WORK/saved/$id $id; done",
            outputs=("saved",),
            prepare="mkdir $WORK/saved",
            stored="saved",
            warm=("source",),
            slow=True,
        ),
        Contender(
            "glance image-download, one by one",
            "for id in $IDS; do"
            " glance --os-auth-token none --os-image-url $GLANCE image-download --file $WORK/downloaded/$id $id; done",
            outputs=("downloaded",),
            prepare="mkdir $WORK/downloaded",
            stored="downloaded",
            warm=("source",),
            slow=True,
            quick=False,
        ),
    ),
    note="glancearchive deduplicates, compresses and writes; curl | openssl only downloads and hashes; the others only "
    "download and write.",
)

PACK = Job(
    "pack",
    "The same images from local files: stored size and time",
    (
        Contender(
            "restic backup",
            "cd $IMAGES && restic backup --quiet *.raw *.qcow2",
            outputs=("restic", "restic-cache"),
            prepare="restic init --quiet",
            keep=True,
            stored="restic",
        ),
        Contender(
            "borg create -C zstd,3",
            "cd $IMAGES && borg create -C zstd,3 ::images *.raw *.qcow2",
            outputs=("borg", "borg-home"),
            prepare="borg init -e none",
            keep=True,
            stored="borg",
        ),
        Contender(
            "tar --sparse, zstd -3 -T2",
            "cd $IMAGES && tar --sparse -cf - *.raw *.qcow2 | zstd -q -3 -T2 -o $WORK/images.tar.zst",
            outputs=("images.tar.zst",),
            keep=True,
            stored="images.tar.zst",
        ),
        Contender(
            "casync make",
            "casync make --store=$WORK/casync/store.castr $WORK/casync/images.caidx $IMAGES",
            outputs=("casync",),
            prepare="mkdir $WORK/casync",
            stored="casync",
            slow=True,
            quick=False,
        ),
    ),
)

PACK_OURS = Contender(
    OURS,
    "cd $IMAGES && $GLANCEARCHIVE dump *.raw *.qcow2 $WORK/packed/images.gla",
    outputs=("packed",),
    prepare="mkdir $WORK/packed",
    stored="packed",
)

VERIFY = Job(
    "verify",
    "Full verify of what was stored",
    (
        Contender(OURS, f"$GLANCEARCHIVE verify $WORK/{ARCHIVE}", warm=("ours",), needs=("dump/" + OURS,)),
        Contender("zstd -t of the archive", f"zstd -q -t $WORK/{ARCHIVE}", warm=("ours",), needs=("dump/" + OURS,)),
        Contender(
            "restic check --read-data",
            "restic check --quiet --read-data",
            warm=("restic",),
            needs=("pack/restic backup",),
        ),
        Contender(
            "borg check --verify-data",
            "borg check --verify-data",
            warm=("borg",),
            needs=("pack/borg create -C zstd,3",),
            quick=False,
        ),
    ),
    note="zstd -t checks checksums of compressed frames only; restic and borg check the bytes of their own chunks.",
)

QUICK = Job(
    "quick",
    "Quick verify",
    (
        Contender(OURS, f"$GLANCEARCHIVE verify --quick $WORK/{ARCHIVE}", warm=("ours",), needs=("dump/" + OURS,)),
        Contender("b3sum of the archive", f"b3sum $WORK/{ARCHIVE}", warm=("ours",), needs=("dump/" + OURS,)),
    ),
    note="b3sum maps the file: its memory is the page cache.",
)

HASH = Job(
    "hash",
    "Verify with Glance's SHA-512 recomputed",
    (
        Contender(
            OURS, f"$GLANCEARCHIVE verify --glance-hash $WORK/{ARCHIVE}", warm=("ours",), needs=("dump/" + OURS,)
        ),
        Contender(
            "sha512sum of the images, 2 at a time",
            "cd $IMAGES && ls -S *.raw *.qcow2 | xargs -P2 -n1 sha512sum",
        ),
    ),
)

EXTRACT = Job(
    "extract",
    "All images back as files",
    (
        Contender(
            OURS,
            f"$GLANCEARCHIVE extract $WORK/{ARCHIVE} -o $WORK/extracted",
            outputs=("extracted",),
            prepare="mkdir $WORK/extracted",
            warm=("ours",),
            needs=("dump/" + OURS,),
            check="printf '%s\\n' $UPLOADS | xargs -n2 sh -c 'cmp $WORK/extracted/$0.img $1'",
        ),
        Contender(
            "restic restore",
            "restic restore --quiet latest --target $WORK/restored",
            outputs=("restored",),
            warm=("restic",),
            needs=("pack/restic backup",),
        ),
        Contender(
            "borg extract --sparse",
            "mkdir $WORK/unborged && cd $WORK/unborged && borg extract --sparse ::images",
            outputs=("unborged",),
            warm=("borg",),
            needs=("pack/borg create -C zstd,3",),
            quick=False,
        ),
        Contender(
            "zstd -d | tar -x",
            "zstd -q -d -c $WORK/images.tar.zst | tar -xf - -C $WORK/untarred",
            outputs=("untarred",),
            prepare="mkdir $WORK/untarred",
            warm=("images.tar.zst",),
            needs=("pack/tar --sparse, zstd -3 -T2",),
            quick=False,
        ),
    ),
    note="glancearchive checks each block and each image before it releases a file.",
)

LOAD = Job(
    "load",
    "Everything into another Glance",
    (
        Contender(
            OURS,
            f"$GLANCEARCHIVE load $TARGET $WORK/{ARCHIVE}",
            warm=("ours",),
            needs=("dump/" + OURS,),
            target="empty",
        ),
        Contender(
            "curl uploads, 2 at a time",
            "printf '%s\\n' $UPLOADS | xargs -P2 -n2 sh -c 'curl -sSf -H Expect: -H"
            ' "Content-Type: application/octet-stream" -T "$1" "$TARGET/v2/images/$0/file"\'',
            target="queued",
        ),
        Contender(
            "openstack image create --file, one by one",
            'for path in $PATHS; do openstack --os-auth-type none --os-endpoint $TARGET image create --file "$path"'
            ' --disk-format "${path##*.}" "${path##*/}"; done',
            target="empty",
            slow=True,
            quick=False,
        ),
    ),
    note="curl uploads into images created beforehand, unmeasured. "
    "After each run the hashes in both Glances were compared.",
)

MEMORY = Job(
    "memory",
    "Peak memory against the size of one image: dump of one image from a Glance of its own",
    (
        Contender(
            "2 GiB raw", "$GLANCEARCHIVE dump $GLANCE_2G $WORK/one.gla", outputs=("one.gla",), warm=("single-2g",)
        ),
        Contender(
            "8 GiB raw", "$GLANCEARCHIVE dump $GLANCE_8G $WORK/one.gla", outputs=("one.gla",), warm=("single-8g",)
        ),
    ),
)

JOBS = (DUMP, PACK, VERIFY, QUICK, HASH, EXTRACT, LOAD, MEMORY)
