"""Jobs that pack local files: nothing but reading, deduplicating, compressing and writing."""

from __future__ import annotations

from benchmarks.jobs.model import FILES, OURS, Contender, Job

RESTIC = "restic backup"
BORG = "borg create -C zstd,3"
TAR = "tar --sparse, zstd -3 -T2"


def tar(options: str, target: str) -> str:
    return f"cd $IMAGES && tar --sparse -cf - {FILES} | zstd -q {options} -o {target}"


PACK = Job(
    "pack",
    "The same images from local files",
    (
        Contender(
            OURS,
            f"cd $IMAGES && $GLANCEARCHIVE dump {FILES} $WORK/packed/images.gla",
            outputs=("packed",),
            prepare="mkdir $WORK/packed",
            stored="packed",
            check=f"cd $IMAGES && for file in {FILES}; do"
            ' $GLANCEARCHIVE extract $WORK/packed/images.gla "${file%.*}" -o - | cmp - "$file"; done',
        ),
        Contender(
            RESTIC,
            f"cd $IMAGES && restic backup --quiet {FILES}",
            outputs=("restic", "restic-cache"),
            prepare="restic init --quiet",
            keep=True,
            stored="restic",
        ),
        Contender(
            BORG,
            f"cd $IMAGES && borg create -C zstd,3 ::images {FILES}",
            outputs=("borg", "borg-home"),
            prepare="borg init -e none",
            keep=True,
            stored="borg",
        ),
        Contender(TAR, tar("-3 -T2", "$WORK/images.tar.zst"), ("images.tar.zst",), keep=True, stored="images.tar.zst"),
    ),
    note="None of them computes Glance's SHA-512: glancearchive does so for files with --glance-hash only.",
)

LEVELS = ("fast", "default", "small", "smallest")
# What the names of contenders in the frontier begin with; the rest is a setting.
OURS_AT, RESTIC_AT, BORG_AT, CASYNC, TAR_AT = TOOLS = (
    OURS + " --level",
    "restic backup --compression",
    "borg create -C",
    "casync make",
    "tar --sparse, zstd",
)


def frontier(name: str, command: str, prepare: str = "mkdir $WORK/frontier", most: int = 1) -> Contender:
    return Contender(name, command, ("frontier",), prepare, stored="frontier", most=most, quick=False)


def level_name(level: str) -> str:
    return f"{OURS_AT} {level}"


FRONTIER = Job(
    "frontier",
    "Size against time, with the same local files",
    (
        *(
            frontier(
                level_name(level),
                f"cd $IMAGES && $GLANCEARCHIVE dump --level {level} {FILES} $WORK/frontier/images.gla",
            )
            for level in LEVELS
        ),
        *(
            frontier(
                f"{RESTIC_AT} {mode}",
                f"cd $IMAGES && restic --repo $WORK/frontier backup --quiet --compression {mode} {FILES}",
                "restic --repo $WORK/frontier init --quiet",
            )
            for mode in ("auto", "max")
        ),
        *(
            frontier(
                f"{BORG_AT} zstd,{level}",
                f"cd $IMAGES && borg create -C zstd,{level} $WORK/frontier::images {FILES}",
                "borg init -e none $WORK/frontier",
            )
            for level in (3, 9)
        ),
        frontier(CASYNC, "casync make --store=$WORK/frontier/store.castr $WORK/frontier/images.caidx $IMAGES"),
        *(
            frontier(f"{TAR_AT} {options}", tar(options, "$WORK/frontier/images.tar.zst"))
            for options in ("-3 -T2", "-3 -T2 --long=31", "-9 -T2 --long=31")
        ),
    ),
    note="zstd --long=31 looks for repetitions 2 GiB back, and needs that much memory to unpack, too.",
    reference=level_name("default"),
)

WORK = (1, 2, 4, 8)
DUMPS, VERIFIES = OURS + " dump", OURS + " verify"


def growth_name(what: str, work: int) -> str:
    return f"{what}, {work}x"


def copies(work: int) -> str:
    return " ".join(f"copy-{number}.raw" for number in range(1, work + 1))


GROWTH = Job(
    "growth",
    "1, 2, 4 and 8 times the work",
    (
        *(
            Contender(
                growth_name(DUMPS, work),
                f"cd $WORK/copies && $GLANCEARCHIVE dump {copies(work)} $WORK/grown/{work}.gla",
                outputs=(f"grown/{work}.gla", f"grown/{work}.gla.part"),
                prepare="mkdir -p $WORK/grown",
                keep=True,
                stored=f"grown/{work}.gla",
                warm=("copies",),
                needs=("material/copies",),
            )
            for work in WORK
        ),
        *(
            Contender(
                growth_name(VERIFIES, work),
                f"$GLANCEARCHIVE verify $WORK/grown/{work}.gla",
                warm=(f"grown/{work}.gla",),
                needs=("growth/" + growth_name(DUMPS, work),),
            )
            for work in WORK
        ),
        *(
            Contender(
                growth_name(RESTIC, work),
                f"cd $WORK/copies && restic --repo $WORK/frontier backup --quiet {copies(work)}",
                outputs=("frontier",),
                prepare="restic --repo $WORK/frontier init --quiet",
                stored="frontier",
                warm=("copies",),
                needs=("material/copies",),
                most=2,
                quick=False,
            )
            for work in WORK
        ),
    ),
    note="Copies of web.raw; in each, every byte of the blocks that are not zero is XORed with another number, so that "
    "unique data grow with the work.",
)
