//go:build linux || darwin

package engine

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// newPrefix marks a cluster that is being created.
const newPrefix = ".new-"

// initdbArgs are initdb's arguments beside the directory. They are part of a
// template's name. C is the one collation DSQL has; small WAL segments make
// the cluster 28 MB instead of 39.
var initdbArgs = []string{
	"--username=" + superuser, "--auth=trust", "--encoding=UTF8", "--locale=C",
	"--wal-segsize=1", "--no-sync", "--no-instructions",
}

func randomName() string { return strings.ToLower(rand.Text()[:12]) }

// createCluster makes the cluster: a copy of the template if there is one,
// otherwise by initdb; what initdb made for a throw-away server becomes the
// template. The cluster appears as a whole by a rename. The caller holds the home's lock, which
// initdb inherits so that an initdb whose parent was killed is waited for.
func createCluster(ctx context.Context, cfg *Config, h *home, lock *os.File, install Install, id identity, useTemplate bool) (fromTemplate bool, err error) {
	began := time.Now()
	temp := h.path(newPrefix + randomName())
	if err := os.Mkdir(temp, 0o700); err != nil {
		return false, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(temp))
		}
	}()
	if err := canOwn(temp, id); err != nil {
		return false, err
	}
	templates := ""
	if cacheDir, err := cacheDirOr(cfg.CacheDir); err == nil {
		templates = filepath.Join(cacheDir, "templates")
	}
	name := templateName(install)
	if useTemplate && templates != "" {
		fromTemplate, err = fillFromTemplate(ctx, templates, name, temp, id)
		if isDiskFull(err) {
			return false, err
		}
		if err != nil { // the template is only there to save time
			cfg.Logger.DebugContext(ctx, "cannot use the template cluster", "error", err)
			if err := emptyDir(temp); err != nil {
				return false, err
			}
		}
	}
	if !fromTemplate {
		if err := initdb(ctx, install, id, temp, h.dir, lock); err != nil {
			return false, err
		}
		// A project has one cluster and tests have many: only they pay for the copy.
		if templates != "" && cfg.Throwaway {
			if err := saveTemplate(ctx, templates, name, temp); err != nil {
				cfg.Logger.DebugContext(ctx, "cannot keep a template cluster", "error", err)
			}
		}
	}
	if err := os.Rename(temp, h.cluster(install.Major)); err != nil {
		return false, err
	}
	cfg.Logger.DebugContext(ctx, "created the local database", "dir", h.cluster(install.Major), "template", fromTemplate, "took", time.Since(began).Round(time.Millisecond))
	return fromTemplate, nil
}

// canOwn gives a new directory to the identity and looks whether the file
// system keeps owners and permissions, which PostgreSQL insists on. Some do
// not: Windows' disks seen from Linux, shared folders of virtual machines.
func canOwn(dir string, id identity) error {
	if err := id.give(dir); err != nil {
		return &unusableError{err}
	}
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if uid, _ := owner(info); uid != id.uid || info.Mode().Perm() != 0o700 {
		return &unusableError{fmt.Errorf("its file system does not keep owners and permissions (user %d and mode %v instead of %d and -rwx------)", uid, info.Mode().Perm(), id.uid)}
	}
	return nil
}

func initdb(ctx context.Context, install Install, id identity, dir, workDir string, lock *os.File) error {
	args := append([]string{"--pgdata=" + dir}, initdbArgs...)
	cmd := exec.CommandContext(ctx, filepath.Join(install.BinDir, "initdb"), args...)
	cmd.SysProcAttr = id.attr()
	ownGroup(cmd)
	cmd.Dir = workDir
	cmd.Env = serverEnv()
	cmd.ExtraFiles = []*os.File{lock}
	cmd.WaitDelay = 2 * time.Second
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	err := cmd.Run()
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return fmt.Errorf("initdb: %w", context.Cause(ctx))
	}
	if strings.Contains(output.String(), syscall.ENOSPC.Error()) || strings.Contains(output.String(), "No space left") || noSpace(workDir) {
		return fmt.Errorf("initdb: %w", syscall.ENOSPC)
	}
	return fmt.Errorf("initdb: %w%s", err, indentTail(output.String()))
}

// noSpace says whether a file system has practically no space left, which
// programs that fail do not always manage to say.
func noSpace(dir string) bool {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return false
	}
	return uint64(st.Bavail)*uint64(st.Bsize) < 1<<20
}

// templateName is what a template is called: everything that its contents
// depend on.
func templateName(install Install) string {
	sum := sha256.Sum256([]byte(install.Version + "\x00" + install.BinDir + "\x00" + strings.Join(initdbArgs, "\x00")))
	return fmt.Sprintf("pg%d-%s", install.Major, hex.EncodeToString(sum[:8]))
}

// templateAge is how long a template is kept without being used.
const templateAge = 30 * 24 * time.Hour

// fillFromTemplate copies the template into dir and says whether there was one.
func fillFromTemplate(ctx context.Context, templates, name, dir string, id identity) (bool, error) {
	template := filepath.Join(templates, name)
	if _, err := os.Stat(filepath.Join(template, "PG_VERSION")); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		return false, err
	}
	lock, err := openLock(filepath.Join(templates, "lock"))
	if err != nil {
		return false, err
	}
	defer lock.Close()
	// Shared: it only keeps away those who make and delete templates, which
	// takes them less time than an initdb.
	for {
		err := flock(int(lock.Fd()), syscall.LOCK_SH|syscall.LOCK_NB)
		if err == nil {
			break
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return false, err
		}
		if err := pause(ctx, 5*time.Millisecond); err != nil {
			return false, err
		}
	}
	if err := copyTree(ctx, template, dir, id.give); err != nil {
		return false, err
	}
	now := time.Now()
	return true, os.Chtimes(template, now, now)
}

// saveTemplate keeps a copy of a new cluster as the template, unless another
// process was faster, and deletes templates nobody has used for long.
func saveTemplate(ctx context.Context, templates, name, cluster string) error {
	if err := mkdirAll(templates, ownFiles); err != nil {
		return err
	}
	lock, err := openLock(filepath.Join(templates, "lock"))
	if err != nil {
		return err
	}
	defer lock.Close()
	if ok, err := tryLock(int(lock.Fd())); err != nil || !ok {
		return err // somebody makes or uses one: no need to wait
	}
	if _, err := os.Stat(filepath.Join(templates, name, "PG_VERSION")); err == nil {
		return nil
	}
	entries, err := os.ReadDir(templates)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil || !info.IsDir() || entry.Name() == name {
			continue
		}
		// The lock is ours, so what is half done belongs to a dead process.
		if strings.HasPrefix(entry.Name(), newPrefix) || time.Since(info.ModTime()) > templateAge {
			if err := os.RemoveAll(filepath.Join(templates, entry.Name())); err != nil {
				return err
			}
		}
	}
	temp := filepath.Join(templates, newPrefix+randomName())
	err = os.Mkdir(temp, 0o700)
	if err == nil {
		err = copyTree(ctx, cluster, temp, ownFiles)
	}
	if err == nil {
		err = os.RemoveAll(filepath.Join(templates, name))
	}
	if err == nil {
		err = os.Rename(temp, filepath.Join(templates, name))
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(temp))
	}
	return nil
}

// dropTemplate deletes a template that made a cluster which does not start: a
// power failure can leave one with empty files.
func dropTemplate(cfg *Config, install Install) error {
	cacheDir, err := cacheDirOr(cfg.CacheDir)
	if err != nil {
		return err
	}
	return os.RemoveAll(filepath.Join(cacheDir, "templates", templateName(install)))
}

func emptyDir(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if err := os.RemoveAll(filepath.Join(dir, entry.Name())); err != nil {
			return err
		}
	}
	return nil
}

// copyWorkers is how many files are copied at a time. A cluster is 970 small
// files, whose cost is in system calls.
const copyWorkers = 4

// copyTree copies the directories and files below from into the existing
// directory to, with the permissions PostgreSQL wants. A cluster that was just
// created has nothing else in it.
func copyTree(ctx context.Context, from, to string, give func(string) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	files := make(chan string)
	var workers sync.WaitGroup
	for range copyWorkers {
		workers.Go(func() {
			for rel := range files {
				target := filepath.Join(to, rel)
				err := copyFile(filepath.Join(from, rel), target)
				if err == nil {
					err = give(target)
				}
				if err != nil {
					cancel(err)
				}
			}
		})
	}
	err := filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil || rel == "." {
			return err
		}
		switch {
		case entry.IsDir():
			target := filepath.Join(to, rel)
			if err := os.Mkdir(target, 0o700); err != nil {
				return err
			}
			return give(target)
		case !entry.Type().IsRegular():
			return fmt.Errorf("copy %s: neither a file nor a directory", path)
		}
		select {
		case files <- rel:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	})
	close(files)
	workers.Wait()
	if err == nil { // the last files' errors come after the walk
		err = context.Cause(ctx)
	}
	return err
}

func copyFile(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	_, err = io.Copy(out, in) // copy_file_range where the system has it
	return err
}
