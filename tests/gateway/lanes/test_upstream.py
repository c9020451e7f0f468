import ssl

import certifi
import pytest

from ccproxyd.gateway.lanes.upstream import Upstream

pytestmark = pytest.mark.anyio


@pytest.fixture
async def upstream():
    upstream = Upstream()
    yield upstream
    await upstream.close()


async def test_a_session_is_kept(upstream):
    assert await upstream.session(True) is await upstream.session(True)


async def test_each_way_of_looking_at_certificates_has_its_own(upstream):
    sessions = [await upstream.session(verify) for verify in (True, False, certifi.where())]
    assert len(set(map(id, sessions))) == 3


async def test_authorities_may_stand_in_a_directory(upstream, tmp_path):
    assert await upstream.session(str(tmp_path))


async def test_a_file_that_holds_none_is_an_error(upstream, tmp_path):
    (tmp_path / "ca.pem").write_text("nothing")
    with pytest.raises(ssl.SSLError):
        await upstream.session(str(tmp_path / "ca.pem"))
    with pytest.raises(FileNotFoundError):
        await upstream.session(str(tmp_path / "missing.pem"))
