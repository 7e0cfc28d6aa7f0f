"""Files and containers through OpenAI's client, on real workspaces."""

import httpx
import openai
import pytest

from .calls import call


def test_a_file_is_uploaded_listed_read_and_deleted(client):
    content = bytes(range(256)) * 10
    file = client.files.create(file=("ä b.bin", content), purpose="user_data")
    assert (file.filename, file.bytes, file.purpose) == ("ä b.bin", 2560, "user_data")
    assert client.files.retrieve(file.id) == file
    assert file.id in [one.id for one in client.files.list()]
    assert client.files.content(file.id).read() == content
    assert client.files.delete(file.id).deleted
    for gone in (client.files.retrieve, client.files.content, client.files.delete):
        with pytest.raises(openai.NotFoundError):
            gone(file.id)


def test_lists_are_paged(client):
    files = [client.files.create(file=(f"{n}.txt", b"x"), purpose="batch").id for n in range(5)]
    page = client.files.list(purpose="batch", limit=2, order="asc")
    assert [one.id for one in page.data] == files[:2]
    assert page.has_more
    assert [one.id for one in client.files.list(purpose="batch", limit=2, order="asc")] == files


@pytest.mark.parametrize(
    ("form", "says"),
    [
        ({"files": {"file": b"x"}, "data": {"purpose": "mischief"}}, "purpose is 'mischief'"),
        ({"files": {"other": b"x"}, "data": {"purpose": "batch"}}, "'file'"),
        ({"content": b"nonsense", "headers": {"content-type": "multipart/form-data; boundary=x"}}, "form|'file'"),
        ({"content": b"nonsense", "headers": {"content-type": "multipart/form-data"}}, "form"),
    ],
)
def test_bad_forms_are_refused(scripted, form, says):
    response = httpx.post(f"{scripted.url}/v1/files", **form)
    assert response.status_code == 400, response.text
    assert any(word in response.json()["error"]["message"] for word in says.split("|"))


def test_forms_are_taken_for_uploads_only(scripted):
    response = httpx.post(f"{scripted.url}/v1/responses", files={"file": b"x"})
    assert response.status_code == 415
    evil = {"origin": "https://evil.example"}
    assert httpx.post(f"{scripted.url}/v1/files", files={"file": b"x"}, headers=evil).status_code == 403


def test_a_container_holds_files_and_code_sees_them(scripted, client):
    file = client.files.create(file=("numbers.csv", b"1\n2\n39\n"), purpose="user_data")
    container = client.containers.create(
        name="work", file_ids=[file.id], expires_after={"anchor": "last_active_at", "minutes": 5}
    )
    assert (container.name, container.status, container.expires_after.minutes) == ("work", "running", 5)
    code = "total = sum(map(int, open('numbers.csv')))\nopen('out.txt', 'w').write(str(total))"
    scripted.says(call("python", code=code), "done")
    client.responses.create(model="m", input="go", tools=[{"type": "code_interpreter", "container": container.id}])
    files = {one.path: one for one in client.containers.files.list(container.id)}
    assert sorted(files) == ["numbers.csv", "out.txt"]
    out = files["out.txt"]
    assert client.containers.files.content.retrieve(out.id, container_id=container.id).read() == b"42"
    assert client.containers.files.retrieve(out.id, container_id=container.id).bytes == 2
    more = client.containers.files.create(container.id, file=("more.bin", b"\x00\xff"))
    assert client.containers.files.content.retrieve(more.id, container_id=container.id).read() == b"\x00\xff"
    client.containers.files.delete(out.id, container_id=container.id)
    assert "out.txt" not in [one.path for one in client.containers.files.list(container.id)]
    client.containers.delete(container.id)
    with pytest.raises(openai.NotFoundError):
        client.containers.retrieve(container.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.create(model="m", input="go", tools=[{"type": "code_interpreter", "container": container.id}])


def test_names_of_uploaded_files_lead_nowhere_else(client):
    container = client.containers.create(name="x")
    made = client.containers.files.create(container.id, file=("../../etc/evil.txt", b"x"))
    assert made.path == "evil.txt"
    for name in ("..", "."):
        with pytest.raises(openai.BadRequestError):
            client.containers.files.create(container.id, file=(name, b"x"))


def test_a_file_whose_name_is_not_utf_8_is_listed_read_and_deleted(scripted, client):
    container = client.containers.create(name="x")
    scripted.says(call("python", code="open(b'r\\xe9sum\\xe9.txt', 'w').write('x')"), "done")
    client.responses.create(model="m", input="go", tools=[{"type": "code_interpreter", "container": container.id}])
    [file] = client.containers.files.list(container.id).data
    assert file.path == "r\ufffdsum\ufffd.txt"
    assert client.containers.files.content.retrieve(file.id, container_id=container.id).read() == b"x"
    client.containers.files.delete(file.id, container_id=container.id)
    assert client.containers.files.list(container.id).data == []
    with pytest.raises(openai.NotFoundError):
        client.containers.files.content.retrieve(file.id, container_id=container.id)


def test_links_of_the_sessions_code_are_not_followed_out_of_it(scripted, client):
    container = client.containers.create(name="x")
    code = "import os; os.symlink('/etc/passwd', 'link'); os.mkfifo('fifo'); os.symlink('/', 'root')"
    scripted.says(call("python", code=code), "done")
    client.responses.create(model="m", input="go", tools=[{"type": "code_interpreter", "container": container.id}])
    assert client.containers.files.list(container.id).data == []
    with pytest.raises(openai.BadRequestError):
        client.containers.files.create(container.id, file=("fifo", b"x"))
    with pytest.raises(openai.BadRequestError):
        client.containers.files.create(container.id, file=("link", b"x"))


def test_an_automatic_container_that_no_call_used_goes_again(scripted, client):
    before = len(client.containers.list().data)
    scripted.says("no need")
    client.responses.create(model="m", input="go", tools=[{"type": "code_interpreter", "container": {"type": "auto"}}])
    assert len(client.containers.list().data) == before
