//go:build linux

package ecstest

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Build builds a static program.
func Build(t testing.TB, out, pkg string, env ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-buildvcs=false", "-o", out, pkg)
	cmd.Env = append(append(os.Environ(), "CGO_ENABLED=0"), env...)
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build %s: %v\n%s", pkg, err, text)
	}
}

// Unpack writes the files of one architecture's image, from a directory in the
// OCI image layout, as they are in a container, and returns its root and entry
// point.
func Unpack(t testing.TB, layout, arch string) (root string, entrypoint []string) {
	t.Helper()
	type descriptor struct {
		Digest   string
		Platform struct{ Architecture string }
	}
	read := func(file string, v any) {
		data, err := os.ReadFile(filepath.Join(layout, file))
		if err == nil {
			err = json.Unmarshal(data, v)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	blob := func(d descriptor) string { return filepath.Join("blobs", strings.Replace(d.Digest, ":", "/", 1)) }
	var outer, index struct{ Manifests []descriptor }
	read("index.json", &outer)
	read(blob(outer.Manifests[0]), &index)
	root = t.TempDir()
	for _, d := range index.Manifests {
		if d.Platform.Architecture != arch {
			continue
		}
		var manifest struct {
			Config descriptor
			Layers []descriptor
		}
		var config struct{ Config struct{ Entrypoint []string } }
		read(blob(d), &manifest)
		read(blob(manifest.Config), &config)
		for _, l := range manifest.Layers {
			if err := unpackLayer(filepath.Join(layout, blob(l)), root); err != nil {
				t.Fatal(err)
			}
		}
		return root, config.Config.Entrypoint
	}
	t.Fatalf("no image for %s in %s", arch, layout)
	return "", nil
}

func unpackLayer(file, root string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // It was only read.
	z, err := gzip.NewReader(f)
	if err != nil {
		return err
	}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		path := filepath.Join(root, h.Name)
		if h.Typeflag == tar.TypeDir {
			err = os.MkdirAll(path, 0o755)
		} else {
			var data []byte
			if data, err = io.ReadAll(r); err == nil {
				err = os.WriteFile(path, data, 0o644)
			}
		}
		if err == nil {
			err = os.Chmod(path, h.FileInfo().Mode())
		}
		if err != nil {
			return err
		}
	}
}
