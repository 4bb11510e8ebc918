"""What a lab's "You will need" table promises, against what its cells take with each model of the catalog."""

from __future__ import annotations

import re

import pytest
from lab_needs import Reader, Unclear

from labs_helper import catalog
from labs_helper.capacity import limits
from labs_helper.catalog import course_folder
from labs_helper.course import timetable

SMALL = 200_000_000  # bytes of disk that no table needs to mention
MOE = catalog.find("phi-3.5-moe-instruct-4bit")[0]
SOURCES = {lab.number: (course_folder() / "notebooks" / "src" / f"{lab.stem}.py") for lab in catalog.labs()}


def row(lab, name):
    """The cells of a row of the table: bundled, real. A lab that opens bundled models alone has one column."""
    text = SOURCES[lab.number].read_text(encoding="utf-8")
    line = re.search(rf"^# \| {name} \| ([^|]*) \|(?: ([^|]*) \|)?$", text, re.M)
    assert line, f"the table of lab {lab.number} has no row '{name}'"
    return line[1], line[2] or line[1]


def promised(text, bits=0, form="mlx"):
    """Gigabytes for a model: "5 GB", or "5 GB at 4 bits, 7 GB at 8, 11 GB at 16".

    For a model of llama.cpp or ONNX Runtime, what stands after "elsewhere" or "else", if that is told.
    """
    if form != "mlx" and (found := re.search(r"else(?:where)? ([\d.]+) GB", text)):
        return float(found[1])
    text = text.partition(", on a ")[0]
    numbers = {int(found[2] or 0): float(found[1]) for found in re.finditer(r"([\d.]+) GB(?: at (\d+))?", text)}
    enough = [size for known, size in sorted(numbers.items()) if known >= bits or not known]
    return enough[0] if enough else 0.0


def bits_of(card):
    if card.format in ("gguf", "onnx") or card.tier == "tiny":
        return 4
    return ((card.config or {}).get("quantization") or {"bits": 16})["bits"]


def pairs():
    """Every lab with every model that can answer in it."""
    for lab in catalog.labs():
        recorded = "record_experts" in SOURCES[lab.number].read_text(encoding="utf-8")
        for role in lab.roles:
            for card in catalog.find(role):
                # Only MLX tells which experts it chose: such a lab refuses a GGUF file at its first question.
                if not card.not_yet and not (recorded and card.format == "gguf"):
                    yield pytest.param(lab, card, id=f"{lab.number}-{card.name}")


@pytest.mark.parametrize(("lab", "card"), list(pairs()))
def test_the_cells_fit_what_the_table_promises(lab, card):
    tiny = card.tier == "tiny"
    needs = Reader(card, lab, on_cpu=tiny).cells(SOURCES[lab.number].read_text(encoding="utf-8"))
    text = row(lab, "free memory")[0 if tiny else 1]
    most = promised(text, bits_of(card), card.format)
    assert needs.memory <= most * 1e9, f"{needs.memory / 1e9:.1f} GB for {card.name}; the table says: {text}"
    assert needs.disk <= SMALL and needs.left_on_disk == 0, f"{needs.disk / 1e9:.1f} GB of disk for {card.name}"


@pytest.mark.parametrize("lab", catalog.labs(), ids=lambda lab: lab.number)
def test_the_download_is_that_of_the_first_real_model(lab):
    card = catalog.find(lab.roles[0], "real")[0]
    bundled, real = row(lab, "download")
    assert bundled == "nothing"
    assert real == bundled or promised(real, 0) * 1e9 == pytest.approx(card.bytes_on_disk, rel=0.01)
    if "else " in real:
        other = next(one for one in catalog.find(lab.roles[0], "real") if one.format != "mlx")
        assert promised(real, 0, other.format) * 1e9 == pytest.approx(other.bytes_on_disk, rel=0.01)


@pytest.mark.parametrize("lab", catalog.labs(), ids=lambda lab: lab.number)
def test_a_mac_that_the_table_names_gives_its_gpu_as_much(lab):
    text = row(lab, "free memory")[1]
    if mac := re.search(r"and (\d+) GB", text):
        assert limits.gpu_share(int(mac[1]) * 2**30) >= promised(text, 0) * 1e9


@pytest.mark.parametrize("lab", catalog.labs(), ids=lambda lab: lab.number)
def test_exercises_leave_time_for_the_rest_of_their_section(lab):
    for section in timetable.sections(course_folder() / "notebooks" / f"{lab.stem}.ipynb"):
        exercises = [int(found) for text in section.exercises for found in re.findall(r"(\d+) minutes", text)]
        assert sum(exercises) < section.minutes, f"{section.title}: exercises of {sum(exercises)} minutes"


# -- the reader itself: the faults that it was written for ------------------------------------------------------------

LOADED = 'moe = load("moe")\n'
RELEASED = f"{LOADED}path = moe.path\nmoe.release()\n"
RAW, AGAIN = "a, p = mlx_vlm.load(str(path))\n", "b, p = mlx_vlm.load(str(path))\n"
FOLDER = f"{LOADED}folder = Path(tempfile.mkdtemp())\n"
REPACKED = f"{FOLDER}moe_offload.repack(str(moe.path), str(folder))\n"
SMALL_ONE = 'small = moe if moe.tier == "tiny" else load("moe", tier="tiny")\n'


def read(code, card=MOE):
    return Reader(card, catalog.find_lab("03")).cells(f"# %%\n{code}")


@pytest.mark.parametrize(
    ("code", "memory", "disk", "left"),
    [
        (LOADED, 24.7, 0, 0),
        (f"{LOADED}raw, _ = mlx_lm.load(str(moe.path))", 48.2, 0, 0),
        (RELEASED + RAW, 24.7, 0, 0),
        (RELEASED + RAW + RAW, 47.3, 0, 0),  # the second is read while the first still has its name
        (f"{RELEASED}{RAW}del a\n{AGAIN}", 24.7, 0, 0),
        (f"{RELEASED}{RAW}a = p = None\n{AGAIN}", 24.7, 0, 0),
        (f'{FOLDER}mlx_lm.convert(str(moe.path), str(folder / "full"), dequantize=True)', 192, 167, 167),
        (f"{REPACKED}shutil.rmtree(folder)", 48.2, 23.6, 0),
        (REPACKED, 48.2, 23.6, 23.6),
        (f"{REPACKED}moe.release()\nfor room in (1, 4):\n    a, p = mlx_vlm.load(str(folder))", 48.2, 23.6, 23.6),
        ('load("endpoint")', 0, 0, 0),
        ('place = serve("moe")', 24.9, 0, 0),
        ('place = serve("moe")\nplace.close()\nplace = serve("moe")', 24.9, 0, 0),
        ('places = [serve("moe", tier="tiny"), serve("moe")]\nfor place in places:\n    place.close()', 25.3, 0, 0),
        (f"{LOADED}config = read(moe.path)\nrandom = phimoe.Model(config)", 192, 0, 0),
        ('path = load("moe").path', 0, 0, 0),
        ('small = load("moe", tier="tiny")\nraw, _ = mlx_lm.load(str(small.path))', 0.3, 0, 0),
        (f'{LOADED}if moe.tier == "tiny":\n    raw, _ = mlx_lm.load(str(moe.path))', 24.7, 0, 0),
        (f"{LOADED}{SMALL_ONE}raw, _ = mlx_lm.load(str(small.path))", 24.8, 0, 0),
        (f"{LOADED}for model in (moe,):\n    model.release()\nraw, _ = mlx_lm.load(str(moe.path))", 24.7, 0, 0),
    ],
)
def test_the_reader_counts_copies_and_folders(code, memory, disk, left):
    needs = read(code)
    assert needs.memory / 1e9 == pytest.approx(memory, rel=0.03, abs=0.1)
    assert needs.disk / 1e9 == pytest.approx(disk, rel=0.02, abs=0.1)
    assert needs.left_on_disk / 1e9 == pytest.approx(left, rel=0.02, abs=0.1)


def test_a_call_whose_model_nobody_can_tell_is_an_error():
    with pytest.raises(Unclear, match="somewhere"):
        read("raw, _ = mlx_lm.load(str(somewhere))")
    with pytest.raises(Unclear, match="convert"):
        read("convert(a, b, bits=4)")
