"""What keylime's library says of files: its registrar's and its verifier's questions, one a call."""

import sys
from pathlib import Path

from keylime import cert_utils
from keylime.tpm import tpm_util


def ek(certificate, store):
    assert cert_utils.verify_ek(Path(certificate).read_bytes(), store), "the EK's certificate is not trusted"


def device(idevid, iak, store):
    error, _, _ = cert_utils.iak_idevid_cert_checks(Path(idevid).read_bytes(), Path(iak).read_bytes(), store)
    assert not error, error


def challenge(ek_public, secret, name, out):
    files = [Path(file).read_bytes() for file in (ek_public, secret, name)]
    Path(out).write_bytes(tpm_util.makecredential(*files))


def quote(key, nonce, signature, attest, pcrs):
    key, signature, attest, pcrs = (Path(file).read_bytes() for file in (key, signature, attest, pcrs))
    tpm_util.checkquote(key, nonce, signature, attest, pcrs, "sha256")


{f.__name__: f for f in (ek, device, challenge, quote)}[sys.argv[1]](*sys.argv[2:])
