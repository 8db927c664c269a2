package localdsql

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// handshake connects to a server with the authority's certificate and returns
// the client's error.
func handshake(t *testing.T, a *authority, serverName string) error {
	t.Helper()
	config, err := a.serverTLS("eu-west-1")
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(a.file)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(data) {
		t.Fatal("no certificate in the file")
	}
	client, server := net.Pipe()
	defer client.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer server.Close()
		_ = tls.Server(server, config).Handshake() // the client's error is the one that counts
	}()
	err = tls.Client(client, &tls.Config{RootCAs: roots, ServerName: serverName}).Handshake()
	client.Close()
	<-done
	return err
}

func TestCertificateNames(t *testing.T) {
	a, err := loadAuthority(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"localhost", "shop.localhost", "127.0.0.1", "::1", clusterHost, "shop.dsql.eu-west-1.localhost"} {
		if err := handshake(t, a, name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"example.com", "10.0.0.1", "shop.dsql.us-east-1.on.aws"} {
		if handshake(t, a, name) == nil {
			t.Errorf("%s: the certificate is good for it", name)
		}
	}
}

func TestAuthorityCannotSignForOthers(t *testing.T) {
	a, err := loadAuthority(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: serial(), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"example.com"}}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	var invalid x509.CertificateInvalidError
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots}); !errors.As(err, &invalid) || invalid.Reason != x509.CANotAuthorizedForThisName {
		t.Errorf("a certificate for example.com: got %v, want that the authority has no say about it", err)
	}
}

func TestAuthorityIsKept(t *testing.T) {
	dir := t.TempDir()
	all := make([]*authority, 8)
	var wg sync.WaitGroup
	for i := range all {
		wg.Go(func() {
			a, err := loadAuthority(dir)
			if err != nil {
				t.Error(err)
				return
			}
			all[i] = a
		})
	}
	wg.Wait()
	for _, a := range all[1:] {
		if a == nil || !a.cert.Equal(all[0].cert) {
			t.Fatal("two processes at once made two authorities")
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if len(names) != 2 {
		t.Errorf("left behind: %q", names)
	}
	info, err := os.Stat(filepath.Join(dir, caKeyName))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the key's file has mode %v", info.Mode())
	}
	if err := os.WriteFile(filepath.Join(dir, caKeyName), []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := loadAuthority(dir); err == nil {
		t.Error("rubbish was taken for an authority")
	}
}

func TestHostNames(t *testing.T) {
	names := hostNames("eu-west-1")
	for host, want := range map[string]bool{
		"localhost": true, "localhost.": true, "shop.localhost": true, clusterHost: true,
		"a.b.localhost": false, "localhost.example.com": false, ".localhost": false, "": false,
		"x.dsql.us-east-1.on.aws": false, "127.0.0.1": false,
	} {
		if got := isHostName(names, host); got != want {
			t.Errorf("%q: %v, want %v", host, got, want)
		}
	}
}
