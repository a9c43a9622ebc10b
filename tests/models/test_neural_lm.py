"""Models from folders: losses against a plain loop over documents, whatever the batch; and folders that are none."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

torch = pytest.importorskip("torch", exc_type=ImportError)
transformers = pytest.importorskip("transformers", exc_type=ImportError)
pytestmark = pytest.mark.filterwarnings("ignore")  # theirs

from assay.errors import AssayError, InvalidParameterError  # noqa: E402
from assay.models import gpt, neural_lm  # noqa: E402
from assay.models.lm import LM  # noqa: E402
from assay.models.neural_lm import batches, load_lm, padded  # noqa: E402
from assay.models.tokenizer import BPE  # noqa: E402
from tests.conftest import make_prose  # noqa: E402

CONTEXT = 64
TEXTS = pa.array([*(d["text"] for d in make_prose(24, length=30)), "", None, "x", "<|endoftext|> is text", "q z " * 60])


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def bpe() -> BPE:
    return BPE.train(TEXTS.drop_null().to_pylist(), 300)


@pytest.fixture(scope="module")
def ours(bpe: BPE, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ours")
    shape = {"width": 32, "depth": 2, "heads": 2, "hidden": 64, "context": CONTEXT}
    model = gpt.GPT(gpt.GPTConfig(vocab_size=bpe.vocab_size + 1, **shape))
    with torch.no_grad():
        for weights in model.parameters():  # as they start, logits are nearly equal
            weights.mul_(3)
    gpt.save(model, folder, bpe.to_json())
    return folder


@pytest.fixture(scope="module")
def gpt2(ours: Path, bpe: BPE, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of another architecture, with another tokenizer class, saved by transformers."""
    folder = tmp_path_factory.mktemp("gpt2")
    torch.manual_seed(0)
    sizes = {"n_positions": CONTEXT, "n_embd": 32, "n_layer": 2, "n_head": 2, "vocab_size": 320}
    config = transformers.GPT2Config(**sizes, bos_token_id=bpe.vocab_size, eos_token_id=bpe.vocab_size)
    transformers.GPT2LMHeadModel(config).save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(ours).save_pretrained(folder)
    return folder


def slowly(folder: Path, lm: LM, ids: np.ndarray) -> np.ndarray:
    """Of one document: a window of the model's context for each token, by transformers."""
    model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    whole = np.concatenate(([lm.end_id], ids)).astype(np.int64)
    step, found = CONTEXT - CONTEXT // 2, []
    for k in range(len(ids)):
        first = 0 if k < CONTEXT else step * ((k - CONTEXT) // step + 1)
        with torch.inference_mode():
            logits = model(torch.from_numpy(whole[None, first : k + 1])).logits[0, -1]
        found.append(float(torch.log_softmax(logits.double(), -1)[ids[k]]))
    return np.array(found)


@pytest.mark.parametrize("kind", ["ours", "gpt2"])
def test_log_probabilities_equal_those_of_a_loop_over_windows(kind: str, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(kind)
    lm = load_lm(folder)
    ids, starts = lm.encode(TEXTS)
    found = lm.log_probabilities(ids, starts)
    assert found.dtype == np.float32 and lm.context == CONTEXT
    assert np.diff(starts).max() > CONTEXT + CONTEXT // 2  # some have several windows
    for k in (int(np.diff(starts).argmax()), 26, 27):
        own = slice(starts[k], starts[k + 1])
        np.testing.assert_allclose(found[own], slowly(folder, lm, ids[own]), atol=2e-5)


@pytest.mark.parametrize("kind", ["ours", "gpt2"])
def test_only_what_is_asked_is_judged_and_the_likeliest_told(kind: str, request: pytest.FixtureRequest) -> None:
    lm = load_lm(request.getfixturevalue(kind))
    ids, starts = lm.encode(TEXTS)
    everything = np.ones(len(ids), np.bool_)
    found, is_best = lm.judge(ids, starts, everything)
    np.testing.assert_array_equal(found, lm.log_probabilities(ids, starts))
    some = np.random.default_rng(0).random(len(ids)) < 0.2
    some[starts[3] : starts[9]] = False
    part, best_of_part = lm.judge(ids, starts, some)
    np.testing.assert_allclose(part, np.where(some, found, 0), atol=1e-5)
    np.testing.assert_array_equal(best_of_part, is_best & some)
    assert not lm.judge(ids, starts, ~everything)[0].any()
    # A document of what greedy decoding gives is the likeliest all along, and with another token there is not.
    own: list[int] = []
    for _ in range(6):
        every = np.tile(np.append(own, 0).astype(ids.dtype), (lm.vocab_size, 1))
        every[:, -1] = np.arange(lm.vocab_size)
        length = every.shape[1]
        last = lm.log_probabilities(every.ravel(), np.arange(0, every.size + 1, length))[length - 1 :: length]
        own.append(int(last.argmax()))
    own[4] = (own[4] + 1) % lm.vocab_size
    one = np.array([0, 6])
    assert lm.judge(np.array(own, ids.dtype), one, np.ones(6, np.bool_))[1][:5].tolist() == [True] * 4 + [False]


def test_our_checkpoint_says_the_same_through_transformers(ours: Path, bpe: BPE) -> None:
    lm, theirs = load_lm(ours), neural_lm._of_transformers(ours, torch.device("cpu"), torch.float32)
    ids, starts = lm.encode(TEXTS)
    for expected, found in zip((ids, starts), theirs.encode(TEXTS), strict=True):
        np.testing.assert_array_equal(found, expected)  # what looks like END in a text is text
    np.testing.assert_allclose(theirs.log_probabilities(ids, starts), lm.log_probabilities(ids, starts), atol=1e-4)
    assert theirs.end_id == lm.end_id == bpe.vocab_size


@pytest.mark.parametrize("threads", [1, 2])
def test_a_document_has_the_same_digits_whatever_stands_beside_it(ours: Path, threads: int) -> None:
    torch.set_num_threads(threads)
    lm = load_lm(ours)
    ids, starts = lm.encode(TEXTS)
    whole = lm.log_probabilities(ids, starts)
    order = np.random.default_rng(0).permutation(len(TEXTS))
    shuffled = lm.log_probabilities(*lm.encode(TEXTS.take(pa.array(order))))
    moved = np.concatenate([np.arange(starts[k], starts[k + 1]) for k in order])
    np.testing.assert_array_equal(shuffled, whole[moved])
    for k in (0, 5, 23, 26, 28):
        alone = lm.log_probabilities(*lm.encode(TEXTS.slice(k, 1)))
        np.testing.assert_array_equal(alone, whole[starts[k] : starts[k + 1]])


def test_bfloat16_is_near(ours: Path) -> None:
    lm, coarse = load_lm(ours), load_lm(ours, dtype=torch.bfloat16)
    ids, starts = lm.encode(TEXTS.slice(0, 4))
    difference = np.abs(coarse.log_probabilities(ids, starts) - lm.log_probabilities(ids, starts))
    assert 0 < difference.mean() < 0.1


def test_batches_hold_each_row_once_and_little_padding() -> None:
    lengths = np.random.default_rng(0).integers(1, 1000, 5000)
    seen = np.zeros(len(lengths), np.int64)
    computed = 0
    for batch in batches(lengths, 4096, 1000):
        seen[batch.rows] += 1
        computed += batch.num_rows * batch.length
        assert len(batch.rows) <= batch.num_rows and lengths[batch.rows].max() <= batch.length <= 1000
    assert (seen == 1).all() and computed < 1.06 * lengths.sum()
    assert (padded(lengths) >= lengths).all()


def test_logits_that_are_more_than_a_product_are_taken_whole(ours: Path) -> None:
    """Some models scale or clip what the output matrix gives."""
    model = transformers.AutoModelForCausalLM.from_pretrained(ours).eval()
    assert neural_lm._network(model, 320).head is model.get_output_embeddings()
    forward = model.forward
    model.forward = lambda **given: transformers.utils.ModelOutput(logits=forward(**given).logits / 2)
    network = neural_lm._network(model, 320)
    probe = torch.arange(5)[None]
    torch.testing.assert_close(network.head(network.body(probe)), forward(input_ids=probe).logits / 2)


def test_a_model_is_loaded_once_and_again_when_its_files_change(ours: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(ours, tmp_path / "model")
    first = load_lm(folder)
    assert load_lm(str(folder)) is first
    (folder / "config.json").write_text((folder / "config.json").read_text() + "\n")
    assert load_lm(folder) is not first


def test_small_models_are_kept_side_by_side_and_large_ones_by_two(
    ours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neural_lm, "_kept", {})
    folders = [shutil.copytree(ours, tmp_path / f"step-{k}") for k in range(4)]
    first = [load_lm(folder) for folder in folders]
    assert [load_lm(folder) for folder in folders] == first
    monkeypatch.setattr(neural_lm, "_KEPT_BYTES", 0)
    assert load_lm(folders[0]) is first[0] and load_lm(folders[3]) is first[3]
    assert load_lm(folders[0]) is first[0] and load_lm(folders[1]) is not first[1]


def test_an_encoder_is_no_causal_model(gpt2: Path, tmp_path: Path) -> None:
    """transformers loads one without a word; it would know each token from having read it."""
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    transformers.BertForMaskedLM(transformers.BertConfig(vocab_size=320, **sizes)).save_pretrained(tmp_path)
    transformers.AutoTokenizer.from_pretrained(gpt2).save_pretrained(tmp_path)
    with pytest.raises(InvalidParameterError, match="must be a causal language model; this one .Bert"):
        load_lm(tmp_path)


def test_a_link_that_leads_nowhere_is_no_file(ours: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(ours, tmp_path / "model")
    (folder / "notes").symlink_to(tmp_path / "gone")
    assert load_lm(folder).context == CONTEXT


def without(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).unlink()


def changed(folder: Path, name: str, change: Any) -> None:
    values = json.loads((folder / name).read_text())
    change(values)
    (folder / name).write_text(json.dumps(values))


def spoilt(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    next(iter(tensors.values())).fill_(float("nan"))
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def fewer_weights(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    save_file({k: v for k, v in tensors.items() if ".1." not in k}, folder / "model.safetensors", {"format": "pt"})


def more_ids(folder: Path) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens([f"token{k}" for k in range(100)])
    tokenizer.save_pretrained(folder)


@pytest.mark.parametrize(
    ("kind", "spoil", "message"),
    [
        ("ours", lambda f: without(f, "config.json"), "must be a folder with a language model: config.json, weights"),
        ("ours", lambda f: without(f, "tokenizer.json", "tokenizer_config.json"), "must hold the model's tokenizer"),
        ("ours", lambda f: without(f, "model.safetensors"), "missing or damaged"),
        ("gpt2", lambda f: without(f, "model.safetensors"), "cannot be loaded"),
        ("gpt2", fewer_weights, "lacks weights: transformer.h.1"),
        ("gpt2", more_ids, "has 401 ids, its model 320: they do not belong together"),
        ("gpt2", lambda f: (f / "config.json").write_text('{"model_type": "none"}'), "cannot be loaded"),
    ],
    ids=["no model", "no tokenizer", "no weights", "no weights", "weights missing", "more ids", "unknown kind"],
)
def test_a_folder_that_holds_no_model_is_refused(
    kind: str, spoil: Any, message: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    folder = shutil.copytree(request.getfixturevalue(kind), tmp_path / "model")
    spoil(folder)
    with pytest.raises(AssayError, match=message):
        load_lm(folder)


def test_a_tokenizer_without_an_end_is_refused(gpt2: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(gpt2, tmp_path / "model")
    changed(folder, "tokenizer_config.json", lambda values: [values.pop(key, 0) for key in ("bos_token", "eos_token")])
    (folder / "special_tokens_map.json").unlink(missing_ok=True)
    with pytest.raises(InvalidParameterError, match="neither bos_token nor eos_token"):
        load_lm(folder)


@pytest.mark.parametrize("kind", ["ours", "gpt2"])
def test_numbers_that_are_none_are_refused(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    folder = shutil.copytree(request.getfixturevalue(kind), tmp_path / "model")
    spoilt(folder)
    lm = load_lm(folder)
    with pytest.raises(InvalidParameterError, match="NaN or infinite"):
        lm.log_probabilities(*lm.encode(TEXTS))


def test_no_folder_is_told() -> None:
    with pytest.raises(InvalidParameterError, match=r"`model` \(='nowhere'\) must be a folder that is there"):
        load_lm("nowhere")
