// What go-attestation, unpatched, does with a TPM at a local port: it is given the port, what to do, and files.
package main

import (
	"bytes"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"github.com/google/go-attestation/attest"
)

// A connection where TPM commands and responses go without framing. A response is read at once, as from a device.
type port struct{ net.Conn }

func (p port) MeasurementLog() ([]byte, error) { return nil, errors.New("the log is a file") }

func (p port) Read(into []byte) (int, error) {
	if len(into) < 10 {
		return 0, io.ErrShortBuffer
	}
	if _, err := io.ReadFull(p.Conn, into[:10]); err != nil {
		return 0, err
	}
	size := int(binary.BigEndian.Uint32(into[2:6]))
	if size < 10 || size > len(into) {
		return 0, fmt.Errorf("a response of %d octets", size)
	}
	_, err := io.ReadFull(p.Conn, into[10:size])
	return size, err
}

const saved = "attestation.key"

var nonce = []byte("a challenger's nonce")

func main() {
	if err := run(os.Args[1], os.Args[2], os.Args[3:]); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func run(at, what string, files []string) error {
	connection, err := net.Dial("tcp", "127.0.0.1:"+at)
	if err != nil {
		return err
	}
	tpm, err := attest.OpenTPM(&attest.OpenConfig{CommandChannel: port{connection}})
	if err != nil {
		return err
	}
	defer tpm.Close()
	switch what {
	case "info":
		return info(tpm)
	case "certificates":
		return certificates(tpm, files[0])
	case "activate":
		return activate(tpm)
	case "challenge":
		return withKey(tpm, func(key *attest.AK) error { return challenge(tpm, key) })
	case "certify":
		return withKey(tpm, func(key *attest.AK) error { return certify(tpm, key) })
	case "quote":
		return withKey(tpm, func(key *attest.AK) error { return quote(tpm, key, nil) })
	case "log":
		log, err := os.ReadFile(files[0])
		if err != nil {
			return err
		}
		return withKey(tpm, func(key *attest.AK) error { return quote(tpm, key, log) })
	}
	return fmt.Errorf("what is %s?", what)
}

func info(tpm *attest.TPM) error {
	found, err := tpm.Info()
	if err == nil {
		fmt.Printf("%+v\n", *found)
	}
	return err
}

func certificates(tpm *attest.TPM, issuer string) error {
	der, err := os.ReadFile(issuer)
	if err != nil {
		return err
	}
	by, err := x509.ParseCertificate(der)
	if err != nil {
		return err
	}
	found, err := tpm.EKs()
	if err != nil {
		return err
	}
	if len(found) == 0 || found[0].Certificate == nil {
		return errors.New("no EK has a certificate")
	}
	return found[0].Certificate.CheckSignatureFrom(by)
}

func certified(tpm *attest.TPM) (attest.EK, error) {
	found, err := tpm.EKCertificates()
	if err == nil && len(found) == 0 {
		err = errors.New("no EK has a certificate")
	}
	if err != nil {
		return attest.EK{}, err
	}
	return found[0], nil
}

func activate(tpm *attest.TPM) error {
	key, err := tpm.NewAK(nil)
	if err != nil {
		return err
	}
	defer key.Close(tpm)
	ek, err := certified(tpm)
	if err != nil {
		return err
	}
	parameters := attest.ActivationParameters{EK: ek.Public, AK: key.AttestationParameters()}
	secret, credential, err := parameters.Generate()
	if err != nil {
		return err
	}
	answer, err := key.ActivateCredentialWithEK(tpm, *credential, ek)
	if err != nil {
		return err
	}
	if !bytes.Equal(secret, answer) {
		return errors.New("another secret comes back")
	}
	blob, err := key.Marshal()
	if err != nil {
		return err
	}
	return os.WriteFile(saved, blob, 0o600)
}

func withKey(tpm *attest.TPM, use func(*attest.AK) error) error {
	blob, err := os.ReadFile(saved)
	if err != nil {
		return err
	}
	key, err := tpm.LoadAK(blob)
	if err != nil {
		return err
	}
	defer key.Close(tpm)
	return use(key)
}

func challenge(tpm *attest.TPM, key *attest.AK) error {
	ek, err := certified(tpm)
	if err != nil {
		return err
	}
	made, secret, err := attest.GenerateEkChallenge(ek.Public)
	if err != nil {
		return err
	}
	solved, err := key.CertifyWithDecryptionEk(tpm, &ek, *made)
	if err != nil {
		return err
	}
	public := key.AttestationParameters().Public
	return attest.VerifySolvedDecryptionEkChallenge(public, solved, *secret)
}

func certify(tpm *attest.TPM, key *attest.AK) error {
	made, err := tpm.NewKey(key, nil)
	if err != nil {
		return err
	}
	defer made.Close()
	public, err := attest.ParseAKPublic(key.AttestationParameters().Public)
	if err != nil {
		return err
	}
	parameters := made.CertificationParameters()
	return parameters.Verify(attest.VerifyOpts{Public: public.Public, Hash: public.Hash})
}

func quote(tpm *attest.TPM, key *attest.AK, log []byte) error {
	attested, err := tpm.AttestPlatform(key, nonce, &attest.PlatformAttestConfig{EventLog: append([]byte{}, log...)})
	if err != nil {
		return err
	}
	public, err := attest.ParseAKPublic(attested.Public)
	if err != nil {
		return err
	}
	if len(attested.Quotes) < 2 {
		return fmt.Errorf("%d banks are quoted", len(attested.Quotes))
	}
	for _, quote := range attested.Quotes {
		if err := public.Verify(quote, attested.PCRs, nonce); err != nil {
			return err
		}
		if public.Verify(quote, attested.PCRs, []byte("another")) == nil {
			return errors.New("another nonce is taken")
		}
	}
	if log == nil {
		return nil
	}
	return replay(log, attested.PCRs)
}

// The log leads to the PCRs, and with another octet in its last event it does not.
func replay(log []byte, pcrs []attest.PCR) error {
	read, err := attest.ParseEventLog(log)
	if err != nil {
		return err
	}
	events, err := read.Verify(pcrs)
	if err != nil {
		return err
	}
	if len(events) == 0 {
		return errors.New("the log has no event")
	}
	return nil
}
