// The program validate reads an image that tools/image wrote with another
// implementation of the specification, go-containerregistry: it validates every
// digest, size and media type, pushes the image to a registry and pulls it back,
// loads the tarballs for docker, and can unpack it.
//
//	validate [-export DIR] LAYOUT [TARBALL…]
//
// It is a module of its own, because go-containerregistry is nothing that users
// of aurora need.
package main

import (
	"archive/tar"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

func main() {
	export := flag.String("export", "", "`directory` to unpack the platforms to, as linux-amd64 and so on")
	flag.Parse()
	if flag.NArg() < 1 {
		fmt.Fprintln(os.Stderr, "usage: validate [-export DIR] LAYOUT [TARBALL...]")
		os.Exit(2)
	}
	if err := run(flag.Arg(0), flag.Args()[1:], *export); err != nil {
		fmt.Fprintln(os.Stderr, "validate:", err)
		os.Exit(1)
	}
}

func run(dir string, tarballs []string, export string) error {
	image, digest, err := open(dir)
	if err != nil {
		return err
	}
	if err := validate.Index(image); err != nil {
		return fmt.Errorf("the index: %w", err)
	}
	m, err := image.IndexManifest()
	if err != nil {
		return err
	}
	configs := map[v1.Hash]bool{}
	for _, d := range m.Manifests {
		img, err := image.Image(d.Digest)
		if err != nil {
			return err
		}
		if err := validate.Image(img); err != nil {
			return fmt.Errorf("%s: %w", d.Platform, err)
		}
		c, err := img.ConfigName()
		if err != nil {
			return err
		}
		configs[c] = true
		if export != "" {
			if err := unpack(filepath.Join(export, strings.ReplaceAll(d.Platform.String(), "/", "-")), img); err != nil {
				return fmt.Errorf("unpack %s: %w", d.Platform, err)
			}
		}
		fmt.Println(d.Platform, d.Digest)
	}
	if err := push(image, digest); err != nil {
		return err
	}
	for _, t := range tarballs {
		img, err := tarball.ImageFromPath(t, nil)
		if err != nil {
			return fmt.Errorf("%s: %w", t, err)
		}
		if err := validate.Image(img); err != nil {
			return fmt.Errorf("%s: %w", t, err)
		}
		if c, err := img.ConfigName(); err != nil || !configs[c] {
			return fmt.Errorf("%s: its configuration %s is not one of the image's (%v)", t, c, err)
		}
	}
	fmt.Println(digest)
	return nil
}

// open finds the one index in a layout.
func open(dir string) (v1.ImageIndex, v1.Hash, error) {
	root, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		return nil, v1.Hash{}, err
	}
	m, err := root.IndexManifest()
	if err != nil {
		return nil, v1.Hash{}, err
	}
	if len(m.Manifests) != 1 {
		return nil, v1.Hash{}, fmt.Errorf("%d images in the layout, want one", len(m.Manifests))
	}
	digest := m.Manifests[0].Digest
	image, err := root.ImageIndex(digest)
	return image, digest, err
}

// push takes the image through a registry.
func push(image v1.ImageIndex, digest v1.Hash) error {
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	tag, err := name.NewTag(strings.TrimPrefix(server.URL, "http://") + "/image:1")
	if err != nil {
		return err
	}
	if err := remote.WriteIndex(tag, image); err != nil {
		return fmt.Errorf("push: %w", err)
	}
	got, err := remote.Index(tag)
	if err != nil {
		return fmt.Errorf("pull: %w", err)
	}
	if d, err := got.Digest(); err != nil || d != digest {
		return fmt.Errorf("the registry has %s, not %s (%v)", d, digest, err)
	}
	if err := validate.Index(got); err != nil {
		return fmt.Errorf("pulled: %w", err)
	}
	return nil
}

// unpack writes the files of an image as they would be in a container. Without
// root, they belong to whoever runs this.
func unpack(dir string, img v1.Image) error {
	files := mutate.Extract(img)
	defer files.Close()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	for r := tar.NewReader(files); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := unpackOne(root, h, r); err != nil {
			return err
		}
	}
}

func unpackOne(root *os.Root, h *tar.Header, r io.Reader) error {
	path := strings.TrimSuffix(h.Name, "/")
	switch h.Typeflag {
	case tar.TypeDir:
		if err := root.Mkdir(path, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	case tar.TypeReg:
		f, err := root.Create(path)
		if err != nil {
			return err
		}
		_, err = io.Copy(f, r)
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
	default:
		return fmt.Errorf("%s: unexpected type %q", h.Name, h.Typeflag)
	}
	if os.Geteuid() == 0 {
		if err := root.Chown(path, h.Uid, h.Gid); err != nil {
			return err
		}
	}
	return root.Chmod(path, h.FileInfo().Mode())
}
