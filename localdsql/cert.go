package localdsql

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// The files of an authority in its directory.
const (
	caName    = "dsql-ca.pem"     // for sslrootcert
	caKeyName = "dsql-ca-key.pem" // the same certificate with its key
)

const (
	caLife   = 10 * 365 * 24 * time.Hour
	leafLife = 397 * 24 * time.Hour // what strict clients allow
)

// An authority signs the certificates of local clusters. It can sign for names
// of this machine and below on.aws only, where the names of Aurora DSQL are, so
// that whoever trusts it trusts it with nothing else.
type authority struct {
	file string // the certificate
	cert *x509.Certificate
	key  crypto.Signer
}

// loadAuthority returns the authority of a directory, and makes it the first
// time. Several processes may do so at once, and get the same.
func loadAuthority(dir string) (*authority, error) {
	keyFile := filepath.Join(dir, caKeyName)
	data, err := os.ReadFile(keyFile)
	if errors.Is(err, fs.ErrNotExist) {
		data, err = createAuthority(dir, keyFile)
	}
	if err != nil {
		return nil, fmt.Errorf("the certificate of the local cluster: %w", err)
	}
	a, err := readAuthority(data)
	if err == nil && time.Until(a.cert.NotAfter) < leafLife {
		err = fmt.Errorf("it ends on %s", a.cert.NotAfter.Format(time.DateOnly))
	}
	if err != nil {
		return nil, fmt.Errorf("the certificate of the local cluster in %s: %w: remove the file to have a new one made", keyFile, err)
	}
	a.file = filepath.Join(dir, caName)
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
	if have, err := os.ReadFile(a.file); err == nil && bytes.Equal(have, text) {
		return a, nil
	}
	if err := replaceFile(a.file, text, 0o644); err != nil {
		return nil, fmt.Errorf("the certificate of the local cluster: %w", err)
	}
	return a, nil
}

// createAuthority makes the file with certificate and key and returns what is
// in it: what another process wrote if that was faster.
func createAuthority(dir, keyFile string) ([]byte, error) {
	data, err := newAuthority()
	if err != nil {
		return nil, err
	}
	tmp, err := writeTemporary(dir, data, 0o600)
	if err != nil {
		return nil, err
	}
	defer os.Remove(tmp) //nolint:errcheck // The error that matters is Link's.
	err = os.Link(tmp, keyFile)
	if err == nil {
		return data, nil
	}
	if errors.Is(err, fs.ErrExist) {
		return os.ReadFile(keyFile)
	}
	// A file system without hard links; nobody is likely to be as fast there.
	return data, replaceFile(keyFile, data, 0o600)
}

// writeTemporary writes a file that is to get its name later. It belongs to the
// directory's owner from the start.
func writeTemporary(dir string, data []byte, mode fs.FileMode) (string, error) {
	f, err := os.CreateTemp(dir, ".dsql-*")
	if err != nil {
		return "", err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(mode), f.Close(), giveToOwner(f.Name()))
	if err != nil {
		return "", errors.Join(err, os.Remove(f.Name()))
	}
	return f.Name(), nil
}

// replaceFile writes a file that others see whole or not at all.
func replaceFile(name string, data []byte, mode fs.FileMode) error {
	tmp, err := writeTemporary(filepath.Dir(name), data, mode)
	if err != nil {
		return err
	}
	if err := os.Rename(tmp, name); err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	return nil
}

// newAuthority makes a certificate and its key, as PEM blocks.
func newAuthority() ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	host, err := os.Hostname()
	if err != nil {
		host = "this machine"
	}
	loopback4 := net.IPNet{IP: net.IPv4(127, 0, 0, 0).To4(), Mask: net.CIDRMask(8, 32)}
	loopback6 := net.IPNet{IP: net.IPv6loopback, Mask: net.CIDRMask(128, 128)}
	template := &x509.Certificate{
		SerialNumber: serial(),
		Subject:      pkix.Name{Organization: []string{"aurora"}, CommonName: "local DSQL on " + host},
		NotBefore:    time.Now().Add(-time.Hour), NotAfter: time.Now().Add(caLife),
		KeyUsage: x509.KeyUsageCertSign, BasicConstraintsValid: true, IsCA: true, MaxPathLenZero: true,
		PermittedDNSDomainsCritical: true,
		PermittedDNSDomains:         []string{"localhost", "on.aws"},
		PermittedIPRanges:           []*net.IPNet{&loopback4, &loopback6},
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return append(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})...), nil
}

func readAuthority(data []byte) (*authority, error) {
	pair, err := tls.X509KeyPair(data, data)
	if err != nil {
		return nil, err
	}
	key, ok := pair.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, errors.New("its key cannot sign")
	}
	return &authority{cert: pair.Leaf, key: key}, nil
}

func serial() *big.Int {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails
	b[0] &= 0x7f
	return new(big.Int).SetBytes(b)
}

// hostNames are what a cluster may be called: this machine, and what an Aurora
// DSQL cluster of the region would be called.
func hostNames(region string) []string {
	return []string{"localhost", "*.localhost", "*.dsql." + region + ".on.aws", "*.dsql." + region + ".localhost"}
}

// isHostName reports whether one of the names is meant by host, in lower case.
// As in a certificate a star stands for one label.
func isHostName(names []string, host string) bool {
	host = strings.TrimSuffix(host, ".")
	for _, name := range names {
		if host == name {
			return true
		}
		suffix, ok := strings.CutPrefix(name, "*")
		if label, found := strings.CutSuffix(host, suffix); ok && found && label != "" && !strings.Contains(label, ".") {
			return true
		}
	}
	return false
}

// serverTLS returns what a cluster of the region shows its clients.
func (a *authority) serverTLS(region string) (*tls.Config, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a certificate: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: serial(),
		Subject:      pkix.Name{Organization: []string{"aurora"}, CommonName: "local DSQL"},
		NotBefore:    time.Now().Add(-time.Hour), NotAfter: time.Now().Add(leafLife),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		DNSNames:              hostNames(region),
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return nil, fmt.Errorf("make a certificate: %w", err)
	}
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der, a.cert.Raw}, PrivateKey: key}},
		MinVersion:   tls.VersionTLS12,
		NextProtos:   []string{"postgresql"},
	}, nil
}
