"""Jobs out of a Glance and into one."""

from __future__ import annotations

from benchmarks.jobs.model import ARCHIVE, OURS, Contender, Job

OPENSTACK = "openstack --os-auth-type none --os-endpoint $GLANCE"
DOWNLOAD = "curl -sSf $GLANCE/v2/images/{}/file"

DUMP = Job(
    "dump",
    "Everything out of Glance",
    (
        Contender(
            OURS,
            f"$GLANCEARCHIVE dump $GLANCE {ARCHIVE}",
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
            most=2,
        ),
        Contender(
            "glance image-download, one by one",
            "for id in $IDS; do"
            " glance --os-auth-token none --os-image-url $GLANCE image-download --file $WORK/downloaded/$id $id; done",
            outputs=("downloaded",),
            prepare="mkdir $WORK/downloaded",
            stored="downloaded",
            warm=("source",),
            most=1,
            quick=False,
        ),
    ),
    note="glancearchive deduplicates, compresses and writes; curl | openssl only downloads and hashes; the others only "
    "download and write.",
)

LOAD = Job(
    "load",
    "Everything into another Glance",
    (
        Contender(
            OURS,
            f"$GLANCEARCHIVE load $TARGET {ARCHIVE}",
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
            most=1,
            quick=False,
        ),
    ),
    note="curl uploads into images created beforehand, unmeasured. "
    "After each run the hashes in both Glances were compared.",
)

RESUMED = "killed at half, and run again"
UNBROKEN = "not interrupted"
RESUME = Job(
    "resume",
    "A dump that is killed when half of the archive is there, and run again",
    (
        Contender(
            RESUMED,
            "$PYTHON -m benchmarks.interrupted $WORK/resumed.gla.part"
            f" $(($(stat -c %s {ARCHIVE}) / 2)) $GLANCEARCHIVE dump $GLANCE $WORK/resumed.gla",
            outputs=("resumed.gla", "resumed.gla.part"),
            stored="resumed.gla",
            warm=("source",),
            needs=("dump/" + OURS,),
            check="$GLANCEARCHIVE verify $WORK/resumed.gla",
        ),
        Contender(
            UNBROKEN,
            "$GLANCEARCHIVE dump $GLANCE $WORK/resumed.gla",
            outputs=("resumed.gla", "resumed.gla.part"),
            stored="resumed.gla",
            warm=("source",),
        ),
    ),
    note="SIGKILL; the time is that of both runs together.",
    reference=RESUMED,
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
