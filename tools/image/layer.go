package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path"
	"strings"
	"time"
)

// user is the name and number of the one user, as in other images without root.
const user = "65532"

const (
	passwd = "root:x:0:0:root:/nonexistent:/nonexistent\nnonroot:x:65532:65532:nonroot:/tmp:/nonexistent\n"
	group  = "root:x:0:\nnonroot:x:65532:\n"
)

// A layer is a compressed tar.
type layer struct {
	blob   []byte
	digest string // of the blob
	diffID string // of what is in it
}

// readCertificates reads a file that must hold certificates and nothing that
// depends on the machine; it is taken as it is.
func readCertificates(name string) ([]byte, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read the CA certificates: %w (install ca-certificates, or say -ca)", err)
	}
	n := 0
	for rest := data; ; n++ {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("read the CA certificates: %s holds a %s", name, block.Type)
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return nil, fmt.Errorf("read the CA certificates: %s: %w", name, err)
		}
	}
	if n == 0 {
		return nil, fmt.Errorf("read the CA certificates: there are none in %s", name)
	}
	return data, nil
}

// baseLayer is what both images have in common.
func baseLayer(certificates []byte, at time.Time) (layer, error) {
	w := newLayerWriter(at)
	w.file("etc/group", 0o644, []byte(group))
	w.file("etc/passwd", 0o644, []byte(passwd))
	w.file("etc/ssl/certs/ca-certificates.crt", 0o644, certificates)
	w.dir("tmp", 0o1777)
	return w.close()
}

// programLayer is a program and its working directory.
func programLayer(program, name, dir string, at time.Time) (layer, error) {
	data, err := os.ReadFile(program)
	if err != nil {
		return layer{}, err
	}
	w := newLayerWriter(at)
	if dir = strings.Trim(dir, "/"); dir != "" {
		w.dir(dir, 0o755)
	}
	w.file(name, 0o755, data)
	return w.close()
}

// A layerWriter writes files that belong to root and were never changed. The
// first error stays.
type layerWriter struct {
	at   time.Time
	buf  bytes.Buffer
	tar  *tar.Writer
	dirs map[string]bool
	err  error
}

func newLayerWriter(at time.Time) *layerWriter {
	w := &layerWriter{at: at, dirs: map[string]bool{".": true}}
	w.tar = tar.NewWriter(&w.buf)
	return w
}

func (w *layerWriter) header(h *tar.Header) {
	h.ModTime, h.Format = w.at, tar.FormatUSTAR
	if w.err == nil {
		w.err = w.tar.WriteHeader(h)
	}
}

func (w *layerWriter) dir(name string, mode int64) {
	if w.dirs[name] {
		return
	}
	w.dirs[name] = true
	w.dir(path.Dir(name), 0o755)
	w.header(&tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: mode})
}

func (w *layerWriter) file(name string, mode int64, data []byte) {
	w.dir(path.Dir(name), 0o755)
	w.header(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: int64(len(data))})
	if w.err == nil {
		_, w.err = w.tar.Write(data)
	}
}

func (w *layerWriter) close() (layer, error) {
	if err := errors.Join(w.err, w.tar.Close()); err != nil {
		return layer{}, fmt.Errorf("write a layer: %w", err)
	}
	var out bytes.Buffer
	z, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return layer{}, err
	}
	if _, err := z.Write(w.buf.Bytes()); err != nil {
		return layer{}, fmt.Errorf("compress a layer: %w", err)
	}
	if err := z.Close(); err != nil {
		return layer{}, fmt.Errorf("compress a layer: %w", err)
	}
	return layer{blob: out.Bytes(), digest: digest(out.Bytes()), diffID: digest(w.buf.Bytes())}, nil
}

func hexDigest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func digest(data []byte) string { return "sha256:" + hexDigest(data) }
