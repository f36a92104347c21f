# What the cases of the suite `libvirt` call.
UUID=5f2a5d6e-3a0b-4c57-9a0e-0123456789ab
NONCE=00112233445566778899aabbccddeeff
v() { virsh --quiet -c qemu:///session "$@"; }
# A libvirtd that ends with the script. Where virsh finds none yet, it would start its own, and ours could not.
serve() {
    export LIBVIRT_AUTOSTART=0
    mkdir -p "$XDG_CONFIG_HOME/libvirt"
    echo 'stdio_handler = "file"' > "$XDG_CONFIG_HOME/libvirt/qemu.conf"
    libvirtd > libvirtd.log 2>&1 &
    libvirtd=$!
    trap 'v destroy machine || true; kill $libvirtd; wait $libvirtd || true' EXIT
    until v list > list 2>&1; do kill -0 $libvirtd; sleep 0.2; done
}
# A domain with this backend of a TPM.
define() {
    cat > machine.xml << XML
<domain type='qemu'>
  <name>machine</name><uuid>$UUID</uuid><memory unit='MiB'>256</memory><vcpu>1</vcpu>
  <os>
    <type arch='x86_64' machine='q35'>hvm</type>
    <kernel>$PWD/vmlinuz</kernel><initrd>$PWD/initrd</initrd>
    <cmdline>console=ttyS0 quiet panic=-1 no_timer_check nonce=$NONCE</cmdline>
  </os>
  <features><acpi/></features>
  <devices>
    <serial type='file'><source path='$PWD/console' append='on'/></serial>
    <tpm model='tpm-crb'>$1</tpm>
    <memballoon model='none'/>
  </devices>
</domain>
XML
    v define machine.xml && : > console
}
count() { grep -a -c "^@$1 " console || true; }
# Waits until the guest has told that it is so far, once more than it has already (or so often).
reached() { until test "$(count "$1")" -ge "$2"; do kill -0 $libvirtd; sleep 0.3; done; }
boots() { reached end "$1"; }
told() { reached "$1" 1; }
# The last value of a name before the last line of the kind `$1`: `first` and `alive` are of a console that was kept.
fact() {
    file=console
    if test "$1" = first; then file=console.first; fi
    sed -n "s/^@$2 //p" "$file" | tr -d '\r' | tail -n 1
}
keep_console() { mv console console.first; : > console; }
# No server of libvirt's is there any more, and it has left no socket.
served_by_none() {
    for _ in $(seq 100); do
        if ! ls run/libvirt/qemu/run/swtpm/*.sock > list 2>&1; then break; fi
        sleep 0.1
    done
    test -z "$(ls run/libvirt/qemu/run/swtpm/)"
}
# The certificates that the guest has read are of this CA, and the key in one of them has signed its quote: of this
# nonce, of these PCRs. tpm2_checkquote knows no RSASSA-PSS, which is the IAK's scheme.
judge() {
    for name in ek iak; do
        fact end $name | xxd -r -p > $name.der
        openssl x509 -inform DER -in $name.der -out $name.pem
        openssl verify -x509_strict -CAfile "$1" $name.pem
    done
    openssl x509 -in iak.pem -noout -pubkey > iak.pub
    fact end message | xxd -r -p > message
    # A TPMT_SIGNATURE: scheme, hash and size are before it.
    fact end signature | xxd -r -p | tail -c +7 > signature
    verify() { openssl dgst -sha256 -sigopt rsa_padding_mode:pss -verify iak.pub -signature signature "$1"; }
    verify message
    sed 's/./x/' message > other
    not verify other
    tpm2_print -t TPMS_ATTEST message > quote
    grep -q "extraData: $NONCE" quote
    grep -q "pcrDigest: $(fact end quoted | xxd -r -p | sha256sum | cut -c 1-64)" quote
    fact end clean | grep -q '^00*$'
    fact end pcr | grep -q '[1-9a-f]'
}
# A start, a reset, the guest's own shut-off and a second start: one TPM, which has counted them, and whose PCRs begin
# anew with each. `$1` is the CA's certificate.
three_boots() {
    v start machine
    boots 1
    judge "$1"
    cp ek.der first.der
    test "$(fact end counter)" = 0000000000000001
    v reset machine
    boots 2
    judge "$1"
    cmp ek.der first.der
    test "$(fact end counter)" = 0000000000000002
    until v domstate machine | grep -q 'shut off'; do sleep 0.3; done
    served_by_none
    v start machine
    boots 3
    judge "$1"
    cmp ek.der first.der
    test "$(fact end counter)" = 0000000000000003
    v destroy machine
    v domstate machine | grep -q 'shut off'
    served_by_none
}
