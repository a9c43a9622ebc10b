"""Objects: addresses, listing as pathlib does, and what happens when a store fails, for a while or for good."""

import glob
import pickle
from pathlib import Path

import pytest

from assay.artifacts import remote
from assay.artifacts.remote import RemotePath
from assay.artifacts.storage import atomic_path, find_glob, location, open_bytes, within
from assay.errors import AssayError, InvalidParameterError, MissingExtraError, StorageError
from tests.s3 import CUT, KEY, SECRET, Server, content, upload_folder


def put(path: RemotePath, data: bytes) -> RemotePath:
    with atomic_path(path) as file:
        file.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("s3://user:hunter2@bucket/pool", "carries a name, password, key or signature.*AWS_ACCESS_KEY_ID"),
        ("s3://hunter2@bucket/pool", "carries a name"),
        ("s3://bucket/pool.jsonl?X-Amz-Signature=hunter2", "carries a name, password, key or signature"),
        ("gs://bucket/x?access_token=hunter2", "GOOGLE_APPLICATION_CREDENTIALS"),
        ("https://user:hunter2@host/pool", "begin with https:// cannot be used; there are s3://, gs://, hf://"),
        ("s3a://bucket/pool", "Did you mean 's3'"),
        ("s3://", "names no bucket"),
        ("s3://*/pool", "names no bucket"),
        ("s3://bucket/../other", "spell it out"),
        ("s3://bucket//pool", "spell it out"),
    ],
)
def test_an_address_that_cannot_be_is_refused_and_no_secret_repeated(address: str, message: str) -> None:
    with pytest.raises(InvalidParameterError, match=message) as caught:
        location(address)
    assert "hunter2" not in str(caught.value)


def test_addresses_and_paths_are_told_apart(tmp_path: Path) -> None:
    assert location("s3://bucket/a/b") == location(Path("s3://bucket/a/b")) == RemotePath("s3://bucket/a") / "b"
    assert location("pool:2024/a.jsonl") == Path("pool:2024/a.jsonl")
    assert within(tmp_path, "part-0.parquet") == tmp_path / "part-0.parquet"
    assert within(tmp_path, "s3://bucket/a.parquet") == RemotePath("s3://bucket/a.parquet")
    assert within(RemotePath("s3://bucket/a"), "/data/a.parquet") == Path("/data/a.parquet")
    assert within(RemotePath("s3://bucket/a"), "part-0.parquet") == RemotePath("s3://bucket/a/part-0.parquet")


def test_an_endpoint_with_a_password_is_refused(s3: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://user:hunter2@127.0.0.1:1")
    with pytest.raises(InvalidParameterError, match="must be like https://host:port") as caught:
        RemotePath("s3://bucket/a").exists()
    assert "hunter2" not in str(caught.value)


def test_what_a_pattern_finds_is_what_it_finds_in_a_local_folder(s3: Server, tmp_path: Path) -> None:
    folder = tmp_path / "tree"
    for name in (
        "a.jsonl",
        "b.jsonl.zst",
        "x/a.jsonl",
        "x/y/a.jsonl",
        "x/y/b.txt",
        "z[1]/a.jsonl",
        "x/y/empty.txt",
        ".a.jsonl",
        "x/.y/a.jsonl",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"" if "empty" in name else name.encode())
    bucket = s3.make_bucket()
    upload_folder(folder, bucket / "deep" / "tree")
    assert content(bucket / "deep" / "tree") == content(folder)
    for pattern in (
        "*",
        "*.jsonl",
        "*/a.jsonl",
        "**/a.jsonl",
        "x/**",
        "x/*/[ab].*",
        "?.jsonl",
        "nope/*",
        "**/*",
        "x/a.jsonl",
        ".*",
        "x/.y/*",
    ):
        expected = [p for p in glob.glob(f"{folder}/{pattern}", recursive=True) if Path(p).is_file()]
        found = find_glob(location(f"{bucket}/deep/tree/{pattern}"))
        assert [str(p) for p in found] == sorted(p.replace(str(folder), f"{bucket}/deep/tree") for p in expected), (
            pattern
        )
    assert [p.name for p in (bucket / "deep" / "tree").iterdir()] == sorted(p.name for p in folder.iterdir())


def test_an_object_is_as_a_file(s3: Server) -> None:
    path = put(s3.make_bucket() / "a" / "b.bin", bytes(range(256)) * 100)
    again = pickle.loads(pickle.dumps(path))
    assert again == path and again.read_bytes() == path.read_bytes() == bytes(range(256)) * 100
    assert (path.exists(), path.is_file(), path.is_dir()) == (True, True, False)
    assert (path.parent.exists(), path.parent.is_file(), path.parent.is_dir()) == (True, False, True)
    assert path.stat().st_size == 25_600
    with open_bytes(path) as file:
        file.seek(-2, 2)
        assert file.read() == b"\xfe\xff" and file.read() == b""
    path.unlink()
    path.unlink(missing_ok=True)
    assert not path.exists()
    for ask in (path.stat, path.read_bytes, path.fingerprint, path.unlink):
        with pytest.raises(FileNotFoundError, match=str(path)):
            ask()


def test_a_file_larger_than_one_request_is_put_whole(s3: Server) -> None:
    data = bytes(23 << 20)
    path = put(s3.make_bucket() / "large.bin", data)
    assert path.read_bytes() == data
    assert sum("partNumber" in query for _, _, query in s3.requests) == 3


def test_a_block_that_fails_leaves_no_object_and_no_file(s3: Server, tmp_path: Path) -> None:
    path = s3.make_bucket() / "a.bin"
    with pytest.raises(ZeroDivisionError), atomic_path(path) as file:
        file.write_bytes(b"half")
        1 / 0  # noqa: B018
    assert not path.exists()
    assert list((tmp_path / "scratch").iterdir()) == []


def test_the_fingerprint_is_of_the_content(s3: Server) -> None:
    bucket = s3.make_bucket()
    one, same, other = (put(bucket / name, data) for name, data in (("1", b"text"), ("2", b"text"), ("3", b"texu")))
    assert one.fingerprint() == same.fingerprint() != other.fingerprint()


@pytest.mark.parametrize("status", [500, 503])
def test_a_store_that_is_out_for_a_while_is_not_noticed(s3: Server, status: int) -> None:
    bucket = s3.make_bucket()
    tries: dict[tuple[str, str], int] = {}

    def out(method: str, path: str) -> int | None:
        tries[method, path] = tries.get((method, path), 0) + 1
        return status if tries[method, path] <= 3 else None

    with s3.failing(out):
        put(bucket / "a.bin", b"data")
        assert (bucket / "a.bin").read_bytes() == b"data"
        assert [path.name for path in bucket.iterdir()] == ["a.bin"]
    assert max(tries.values()) >= 4


def test_a_body_that_breaks_off_is_asked_for_again(s3: Server) -> None:
    data = bytes(range(256)) * 1000
    path = put(s3.make_bucket() / "a.bin", data)
    cuts = iter([CUT, CUT])
    with s3.failing(lambda method, _: next(cuts, None) if method == "GET" else None):
        assert path.read_bytes() == data
    assert next(cuts, None) is None


@pytest.mark.usefixtures("impatient")
def test_a_store_that_stays_out_ends_in_a_sentence(s3: Server) -> None:
    path = put(s3.make_bucket() / "a.bin", b"data")
    with s3.failing(lambda *_: 503), pytest.raises(StorageError, match="also when tried again .* run the same command"):
        path.exists()
    with (
        s3.failing(lambda method, _: CUT if method == "GET" else None),
        pytest.raises(StorageError, match="Cannot read"),
    ):
        path.read_bytes()
    with (
        s3.failing(lambda method, _: 500 if method == "PUT" else None),
        pytest.raises(StorageError, match="Cannot write"),
    ):
        put(path, b"more")
    assert path.read_bytes() == b"data"


@pytest.mark.usefixtures("impatient")
def test_a_store_that_is_not_there_ends_in_a_sentence(s3: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(StorageError, match="Cannot look at s3://bucket/a, also when tried again .*onnect"):
        RemotePath("s3://bucket/a").exists()


def test_a_refusal_says_where_credentials_come_from(s3: Server) -> None:
    path = put(s3.make_bucket() / "a.bin", b"data")
    with s3.failing(lambda *_: 403):
        for ask, doing in ((path.exists, "look at"), (path.read_bytes, "read"), (path.parent.iterdir, "list")):
            with pytest.raises(StorageError, match=f"Not allowed to {doing} s3://.*AWS_ACCESS_KEY_ID") as caught:
                ask()
            assert KEY not in str(caught.value) and SECRET not in str(caught.value)
        with pytest.raises(StorageError, match="Not allowed to write"):
            put(path, b"more")


def test_secrets_are_blotted_out_of_what_a_store_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    with pytest.raises(StorageError) as caught, remote._told(RemotePath("s3://bucket/a"), "read"):
        raise OSError(f"the server says: {SECRET} is wrong")
    assert SECRET not in str(caught.value) and "***" in str(caught.value)


def test_a_bucket_that_is_not_there_is_named(s3: Server) -> None:
    path = RemotePath("s3://nowhere/a.bin")
    for ask in (path.require_writable, lambda: put(path, b"data")):
        with pytest.raises(StorageError, match="There is no bucket 'nowhere'"):
            ask()


def test_hugging_face_can_be_read_and_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    from fsspec.implementations.memory import MemoryFileSystem

    hub = MemoryFileSystem(skip_instance_cache=True)
    hub.pipe("/datasets/org/set/a.jsonl", b'{"text": "a"}\n')
    hub.pipe("/datasets/org/set/deep/b.jsonl", b'{"text": "b"}\n')
    monkeypatch.setattr(remote, "_hub", lambda: hub)
    remote._connect.cache_clear()
    folder = RemotePath("hf://datasets/org/set")
    assert [p.name for p in folder.rglob("*.jsonl")] == ["a.jsonl", "b.jsonl"]
    assert (folder / "a.jsonl").read_text() == '{"text": "a"}\n'
    with pytest.raises(StorageError, match="can only be read from"):
        folder.require_writable()
    remote._connect.cache_clear()


def test_hugging_face_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    remote._connect.cache_clear()
    with pytest.raises(MissingExtraError, match=r"pip install 'assay\[hf\]'"):
        RemotePath("hf://datasets/org/set/a.jsonl").exists()


def test_what_a_store_cannot_do_is_an_error_of_ours() -> None:
    """Were it an OSError, readers would take a connection that broke for a damaged file and go on."""
    assert issubclass(StorageError, AssayError) and not issubclass(StorageError, OSError)
