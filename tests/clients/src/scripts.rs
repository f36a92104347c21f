//! What clients do, as scripts that must end with 0 under `set -euo pipefail`, in one folder with one TPM, in their
//! order. `not COMMAND` wants a command to fail; `place` says what lies in the folder. A step is what a reader of
//! docs/clients.md would look for, one tool where that can be.

use crate::list::{Does, Step};
use crate::{azure, virtee};

/// A step that is a script.
const fn script(name: &'static str, text: &'static str) -> Step {
    (name, Does::Script(text))
}

/// Debian's tpm2-tools, with what the firmware has.
pub const TOOLS: &[Step] = &[
    script("tpm2_getcap properties-fixed", "tpm2_getcap properties-fixed > said; grep -q TPM2_PT_MANUFACTURER said"),
    script("tpm2_getrandom 32", "tpm2_getrandom 32 -o random; test $(stat -c %s random) = 32"),
    script("tpm2_nvread -C o 0x01c00100", "tpm2_nvread -C o 0x01c00100 -o issuer.der"),
    script(
        "tpm2_getekcertificate, which OpenSSL verifies",
        "tpm2_getekcertificate -o ek.der -o ecc.der; openssl x509 -inform der -in issuer.der -out issuer.pem
         for which in ek ecc; do
             openssl x509 -inform der -in $which.der -out $which.crt; openssl verify -CAfile issuer.pem $which.crt
         done",
    ),
    script(
        "tpm2_createek -G rsa",
        "tpm2_createek -G rsa -c ek.ctx -f pem -u ek.pem; openssl x509 -in ek.crt -noout -pubkey | cmp - ek.pem",
    ),
    script(
        "tpm2_createak -G rsa",
        "tpm2_createak -C ek.ctx -c ak.ctx -G rsa -g sha256 -s rsassa -u ak.pem -f pem -n ak.name",
    ),
    script(
        "tpm2_makecredential -T none, tpm2_activatecredential",
        "tpm2_makecredential -T none -G rsa -u ek.pem -s random -n $(od -An -vtx1 ak.name | tr -d ' \\n') -o blob
         tpm2_startauthsession --policy-session -S session; tpm2_policysecret -S session -c e
         tpm2_activatecredential -c ak.ctx -C ek.ctx -i blob -o again -P session:session; cmp random again",
    ),
    script("tpm2_pcrread sha256", "tpm2_pcrread sha256 > said; test $(grep -c 0x said) = 24"),
    script("tpm2_pcrextend", "tpm2_pcrextend 16:sha256=$(sha256sum random | cut -c 1-64)"),
    script(
        "tpm2_quote",
        "tpm2_quote -c ak.ctx -l sha256:0,8,9,16 -q 00ff -g sha256 -m quote.msg -s quote.sig -o quote.pcrs",
    ),
    script(
        "tpm2_checkquote -f",
        "check() { tpm2_checkquote -u ak.pem -m quote.msg -s quote.sig -f $1 -g sha256 -q $2; }
         check quote.pcrs 00ff; not check quote.pcrs 00fe
         cd evidence; evidence() { tpm2_checkquote -u ak.pub -m quote.msg -s quote.sig -f quote.pcrs -g sha256 -q $1; }
         evidence $(cat nonce.hex); not evidence $(tr '0-9a-f' '1-9a-f0' < nonce.hex)",
    ),
    script(
        "tpm2_eventlog, without a warning",
        "tpm2_eventlog evidence/events.bin > said 2> warnings; test -s said; not test -s warnings",
    ),
    script("tpm2_nvdefine", "tpm2_nvdefine -C o 0x01500010 -s 32 -a 'ownerread|ownerwrite'"),
    script("tpm2_nvwrite", "tpm2_nvwrite -C o 0x01500010 -i random"),
    script("tpm2_nvread -C o 0x01500010", "tpm2_nvread -C o 0x01500010 -o again; cmp random again"),
    script("tpm2_nvundefine", "tpm2_nvundefine -C o 0x01500010"),
    script("tpm2_createprimary -C o -G ecc", "tpm2_createprimary -C o -G ecc -c primary"),
    script("tpm2_createpolicy --policy-pcr", "tpm2_createpolicy --policy-pcr -l sha256:16 -L policy"),
    script("tpm2_create, a sealed secret", "tpm2_create -C primary -L policy -i random -u sealed.pub -r sealed.priv"),
    script("tpm2_load", "tpm2_load -C primary -u sealed.pub -r sealed.priv -c sealed.ctx"),
    script("tpm2_unseal -p pcr:…", "tpm2_unseal -c sealed.ctx -p pcr:sha256:16 -o again; cmp random again"),
    script(
        "tpm2_unseal, refused after tpm2_pcrextend",
        "tpm2_pcrextend 16:sha256=$(sha256sum policy | cut -c 1-64); not tpm2_unseal -c sealed.ctx -p pcr:sha256:16",
    ),
];

/// The same with a vTPM as Azure's.
pub const AZURE_TOOLS: &[Step] = &[
    script(
        "tpm2_nvread -C o 0x01400001",
        "tpm2_nvread -C o 0x01400001 -o report.bin; test $(stat -c %s report.bin) = 2900
         test \"$(head -c 4 report.bin)\" = HCLA",
    ),
    script(
        "tpm2_nvdefine, tpm2_nvwrite of user data",
        "printf challenge > data; tpm2_nvdefine -C o 0x01400002 -s 64 -a 'ownerread|ownerwrite'
         tpm2_nvwrite -C o 0x01400002 -i data",
    ),
    script(
        "tpm2_nvread, with these user data",
        "tpm2_nvread -C o 0x01400001 -o other.bin; not cmp -s report.bin other.bin
         grep -aq \"\\\"user-data\\\":\\\"$(od -An -vtx1 data | tr -d ' \\n')\" other.bin",
    ),
    script("tpm2_readpublic -c 0x81000003", "tpm2_readpublic -c 0x81000003 -f pem -o ak.pem"),
    script(
        "tpm2_quote -c 0x81000003",
        "tpm2_quote -c 0x81000003 -l sha256:0,1,23 -q 00ff -m quote.msg -s quote.sig -o quote.pcrs -g sha256",
    ),
    script("tpm2_checkquote -f", "tpm2_checkquote -u ak.pem -m quote.msg -s quote.sig -f quote.pcrs -g sha256 -q 00ff"),
    script(
        "tpm2_nvread -C o 0x01c101d0, which OpenSSL verifies",
        "tpm2_nvread -C o 0x01c101d0 -o ak.der; tpm2_nvread -C o 0x01c00100 -o issuer.der
         openssl x509 -inform der -in issuer.der -out issuer.pem; openssl x509 -inform der -in ak.der -out ak.crt
         openssl verify -CAfile issuer.pem ak.crt; openssl x509 -in ak.crt -noout -pubkey | cmp - ak.pem",
    ),
];

/// FAPI provisions, with the firmware's issuer as the root that it trusts, and not with another.
pub const FAPI: &[Step] = &[
    script(
        "the issuer's certificate, by tpm2_nvread",
        "mkdir ca; tpm2_nvread -C o 0x01c00100 -o issuer.der; openssl x509 -inform der -in issuer.der -out ca/ca.pem",
    ),
    FAPI_OTHER_ROOT,
    FAPI_P256,
    FAPI_RSA_2048,
    FAPI_P384,
];

/// The same with a server's CA, and with the largest of its profiles.
pub const FAPI_SERVER: &[Step] = &[
    FAPI_OTHER_ROOT,
    FAPI_P256,
    FAPI_RSA_2048,
    FAPI_P384,
    script("Fapi_Provision without ek_cert_less, RSA 3072", "again; fapi P_RSA3072SHA384 ca/ca.pem"),
];

/// It gives up for that reason, and for no other.
const FAPI_OTHER_ROOT: Step = script(
    "Fapi_Provision with another root is refused",
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -keyout o.key -out o.pem -subj /CN=other
     not fapi P_ECCP256SHA256 o.pem 2> said; cat said; grep -q 'unable to get local issuer certificate' said",
);
const FAPI_P256: Step =
    script("Fapi_Provision without ek_cert_less, P-256", "rm -r user system; fapi P_ECCP256SHA256 ca/ca.pem");
const FAPI_RSA_2048: Step =
    script("Fapi_Provision without ek_cert_less, RSA 2048", "again; fapi P_RSA2048SHA256 ca/ca.pem");
const FAPI_P384: Step = script("Fapi_Provision without ek_cert_less, P-384", "again; fapi P_ECCP384SHA384 ca/ca.pem");

/// Forgets what FAPI has kept, in the TPM and beside it.
pub const FAPI_AGAIN: &str = "again() { tpm2_evictcontrol -C o -c 0x81000001; rm -r user system; }";

/// keylime's library before the firmware's certificates and a quote.
pub const KEYLIME: &[Step] = &[
    script(
        "the EK's certificate is trusted by its issuer's, RSA and ECC, and by no other",
        "mkdir store others; tpm2_nvread -C o 0x01c00100 -o issuer.der
         openssl x509 -inform der -in issuer.der -out store/issuer.pem
         openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -keyout o.key -out others/o.pem -subj /CN=o
         for i in 0x01c00002 0x01c0000a; do
             tpm2_nvread -C o $i -o ek.der; keylime ek ek.der store; not keylime ek ek.der others
         done",
    ),
    script(
        "its challenge is activated by the AK beside the EK",
        "head -c 32 /dev/urandom > secret; tpm2_createek -G rsa -c ek.ctx -u ek.pub
         tpm2_createak -C ek.ctx -c ak.ctx -G rsa -g sha256 -s rsassa -f pem -u ak.pem -n ak.name
         tpm2_flushcontext -t; keylime challenge ek.pub secret ak.name blob
         tpm2_startauthsession --policy-session -S session; tpm2_policysecret -S session -c e
         tpm2_activatecredential -c ak.ctx -C ek.ctx -i blob -o answer -P session:session; cmp secret answer",
    ),
    script(
        "a quote by that AK, and none with another nonce",
        "tpm2_quote -c ak.ctx -l sha256:0,8,9,16 -q $(printf nonce | xxd -p) -g sha256 -m q.msg -s q.sig -o q.pcrs
         keylime quote ak.pem nonce q.sig q.msg q.pcrs; not keylime quote ak.pem other q.sig q.msg q.pcrs",
    ),
];

/// go-attestation, with a server's certificates.
pub const GO_SERVER: &[Step] = &[
    script("TPM.Info", "$GO_ATTESTATION $PORT info"),
    script(
        "TPM.EKs, signed by its CA",
        "openssl x509 -in ca/ca.pem -outform der -out ca.der; $GO_ATTESTATION $PORT certificates ca.der",
    ),
    script("TPM.NewAK, ActivateCredentialWithEK", "$GO_ATTESTATION $PORT activate"),
    script("CertifyWithDecryptionEk", "$GO_ATTESTATION $PORT challenge"),
    script("TPM.NewKey, certified by the AK", "$GO_ATTESTATION $PORT certify"),
    script("AttestPlatform, AKPublic.Verify", "$GO_ATTESTATION $PORT quote"),
];

/// go-attestation, with the firmware's certificates and a log.
pub const GO_FIRMWARE: &[Step] = &[
    script("the issuer's certificate, by tpm2_nvread", "tpm2_nvread -C o 0x01c00100 -o issuer.der"),
    script("TPM.EKs, signed by the firmware's issuer", "$GO_ATTESTATION $PORT certificates issuer.der"),
    script("TPM.NewAK, ActivateCredentialWithEK", "$GO_ATTESTATION $PORT activate"),
    script("AttestPlatform, AKPublic.Verify", "$GO_ATTESTATION $PORT quote"),
    script(
        "EventLog.Verify, and not after another event",
        "$GO_ATTESTATION $PORT log evidence/events.bin
         tpm2_pcrevent 8 issuer.der > event; not $GO_ATTESTATION $PORT log evidence/events.bin",
    ),
];

/// go-sev-guest's program: a report with its certificates, as a host gives them. Its status is 2 where the signature or
/// the chain is refused.
pub const GO_SEV_GUEST: &[Step] = &[
    script(
        "check: report, chain, TCB, chip, VMPL 0, measurement, REPORT_DATA",
        "cd evidence; cat report.bin certificates.bin > extended.bin
         field() { od -An -vtx1 -j $1 -N $2 report.bin | tr -d ' \\n'; }
         cat nonce.bin manifest.bin | sha512sum | cut -c 1-128 > expected
         check -in extended.bin -report_data $(cat expected) -measurement $(od -An -vtx1 measurement.bin | tr -d ' \\n') \
             -chip_id $(field 416 64)",
    ),
    script(
        "check refuses another MEASUREMENT, REPORT_DATA, REPORTED_TCB, signature, and a guest of VMPL 2",
        "cd evidence
         for at in 144 80 384 672; do
             cp extended.bin other.bin; octet=$(od -An -tu1 -j $at -N 1 other.bin)
             printf \"\\\\x$(printf %02x $((octet ^ 1)))\" | dd of=other.bin bs=1 seek=$at conv=notrunc status=none
             status=0; check -in other.bin || status=$?; test $status = 2
         done
         not check -in extended.bin -vmpl 2; not check -in extended.bin -report_data $(head -c 64 /dev/zero | od -An -vtx1 | tr -d ' \\n')",
    ),
    script(
        "check refuses the chain by AMD's own roots",
        "cd evidence; status=0; by_amd -in extended.bin || status=$?; test $status = 2",
    ),
];

/// The same with the report in Azure's blob.
pub const GO_SEV_GUEST_AZURE: &[Step] = &[
    script("the report, by tpm2_nvread", "tpm2_nvread -C o 0x01400001 -o report.bin"),
    script(
        "check: the report in it",
        "tail -c +33 report.bin | head -c 1184 > raw.bin; tail -c +1237 report.bin > rest
         size=$(od -An -tu4 -j 1232 -N 4 report.bin | tr -d ' ')
         data=$(head -c $size rest | sha256sum | cut -c 1-64)$(printf %064d 0)
         cat raw.bin chain/certificates.bin > extended.bin; check -in extended.bin -vmpl 0 -report_data $data",
    ),
];

/// The crate sev, with evidence of the firmware.
pub const SEV: &[Step] = &[
    ("Chain and (Chain, AttestationReport) verify", Does::Ours(virtee::verifies)),
    ("another report is refused", Does::Ours(virtee::refuses)),
];

/// virtee's snpguest, with evidence of the firmware.
pub const SNPGUEST: &[Step] = &[
    script("verify certs", "$SNPGUEST verify certs evidence"),
    script("verify attestation: signature, TCB and chip", "$SNPGUEST verify attestation evidence evidence/report.bin"),
    script(
        "another MEASUREMENT, REPORT_DATA, REPORTED_TCB or signature is refused",
        "for at in 144 80 384 672; do
             cp evidence/report.bin other.bin; octet=$(od -An -tu1 -j $at -N 1 other.bin)
             printf \"\\\\x$(printf %02x $((octet ^ 1)))\" | dd of=other.bin bs=1 seek=$at conv=notrunc status=none
             not $SNPGUEST verify attestation evidence other.bin
         done",
    ),
];

/// virtee's snpguest, with the report in Azure's blob, cut out as its users do.
pub const SNPGUEST_AZURE: &[Step] = &[
    script(
        "the report, by tpm2_nvread and dd",
        "tpm2_nvread -C o 0x01400001 -o hcl.bin; dd skip=32 bs=1 count=1184 if=hcl.bin of=report.bin status=none",
    ),
    script("verify attestation: signature, TCB and chip", "$SNPGUEST verify attestation chain report.bin"),
    script("display report", "$SNPGUEST display report report.bin > said; grep -qi 'VMPL: *0' said"),
];

/// The crate az-snp-vtpm, by a program of ours that calls it.
pub const AZ_SNP_VTPM: &[Step] = &[
    script("is_snp_cvm", "$AZURE_CLIENT chain is_snp_cvm"),
    script("vtpm::get_report, verified", "$AZURE_CLIENT chain get_report"),
    script("vtpm::get_report_with_report_data, three times", "$AZURE_CLIENT chain get_report_with_report_data"),
    script("vtpm::get_ak_pub", "$AZURE_CLIENT chain get_ak_pub"),
    script("vtpm::extend_pcr, vtpm::get_quote, Quote::verify", "$AZURE_CLIENT chain 'get_quote, extend_pcr'"),
    script("another report and other claims are refused", "$AZURE_CLIENT chain refusals"),
];

/// Azure's tools for guest attestation, by their rules.
pub const AZURE_RULES: &[Step] = &[
    script(
        "the report in parts of 512 octets, as the C++ library reads it",
        "for at in 0 512 1024 1536 2048 2560; do
             size=512; test $at != 2560 || size=340
             tpm2_nvread -C o 0x01400001 --offset $at -s $size -o part; cat part >> report.bin
         done
         tpm2_nvread -C o 0x01400001 -o whole.bin; cmp report.bin whole.bin",
    ),
    ("report_parser.py: type, report, claims, keys, user data", Does::Ours(azure::tools)),
    ("HclReportParser.cpp: structure, REPORT_DATA over the claims", Does::Ours(azure::library)),
];

/// systemd's programs, which take tpm2-tss' name of a TPM where they expect a device.
pub const SYSTEMD: &[Step] = &[
    script(
        "systemd-creds encrypt",
        "head -c 64 /dev/urandom > secret
         systemd-creds encrypt --with-key=tpm2 --tpm2-device=$TPM2TOOLS_TCTI --tpm2-pcrs=16 --name=secret secret sealed",
    ),
    script(
        "systemd-creds decrypt",
        "systemd-creds decrypt --tpm2-device=$TPM2TOOLS_TCTI --name=secret sealed again; cmp secret again",
    ),
    script(
        "systemd-creds decrypt, refused after another event in PCR 16",
        "tpm2_pcrextend 16:sha256=$(sha256sum secret | cut -c 1-64)
         not systemd-creds decrypt --tpm2-device=$TPM2TOOLS_TCTI --name=secret sealed -",
    ),
    script(
        "systemd-cryptenroll",
        "truncate -s 32M disk; printf password > password
         cryptsetup luksFormat --batch-mode --type luks2 --pbkdf pbkdf2 --pbkdf-force-iterations 1000 disk password
         PASSWORD=$(cat password) systemd-cryptenroll --tpm2-device=$TPM2TOOLS_TCTI --tpm2-pcrs=7 disk
         cryptsetup luksDump disk > dump; grep -q systemd-tpm2 dump",
    ),
];

#[cfg(test)]
mod tests {
    use crate::list::{CLIENTS, Does, How};
    use host::shell::negates;
    use std::collections::BTreeSet;
    use std::process::Command;

    #[test]
    fn every_script_is_a_script_and_no_step_has_the_name_of_another() {
        for client in CLIENTS {
            let How::Steps(_, steps) = client.how else { continue };
            let names: BTreeSet<_> = steps.iter().map(|(name, _)| name).collect();
            assert_eq!(names.len(), steps.len(), "{}", client.name);
            for (name, does) in steps {
                let Does::Script(script) = does else { continue };
                let checked = Command::new("bash").args(["-n", "-c", script]).status().unwrap();
                assert!(checked.success() && !negates(script), "{}: {name}", client.name);
            }
        }
    }
}
