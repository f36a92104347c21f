#!/bin/busybox sh
# The first process of a domain: uses its TPM and tells what it found, a line `@NAME VALUE` each. Where the TPM has been
# started an even number of times it switches the computer off, else it waits, and tells again when a minute is over.
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox --install -s /bin
export PATH=/bin TPM2TOOLS_TCTI=device:/dev/tpm0
cd /tmp || exit
tell() { echo "@$1 $2"; }
hex() { od -An -v -tx1 "$1" | tr -d ' \n'; }
counter=0x1500016
nonce=$(sed 's/.*nonce=\([0-9a-f]*\).*/\1/' /proc/cmdline)
bank=$(ls -d /sys/class/tpm/tpm0/pcr-* | sed 's/.*pcr-//' | tr '\n' ' ' | sed 's/ $//')
one=${bank%% *}
pcr() { tr 'A-F' 'a-f' < "/sys/class/tpm/tpm0/pcr-$one/$1"; }
echo
tell begin ""
tell banks "$bank"
tell clean "$(pcr 16)"
tpm2 nvread -C o -o ek.der 0x1c00002 && tell ek "$(hex ek.der)"
tpm2 nvread -C o -o iak.der 0x1c90100 && tell iak "$(hex iak.der)"
tpm2 nvreadpublic $counter > seen 2>&1 || tpm2 nvdefine -C o -a 'ownerread|ownerwrite|nt=0x1' $counter
tpm2 nvincrement -C o $counter
tpm2 nvread -C o -o count $counter
tell counter "$(hex count)"
echo measured > event
tpm2 pcrevent 16 event > seen
tell pcr "$(pcr 16)"
tpm2 quote -c 0x81020001 -l "$one:0,7,16" -q "$nonce" --scheme rsapss -g sha256 -m message -s signature > seen &&
    tell message "$(hex message)" && tell signature "$(hex signature)"
tell quoted "$(for number in 0 7 16; do pcr $number; done | tr -d '\n')"
tell end ""
case $(hex count) in *[02468ace]) poweroff -f ;; esac
while sleep 5; do
    tell pcr "$(pcr 16)"
    tell alive ""
done
