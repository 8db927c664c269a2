//go:build linux || darwin

package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

func start(ctx context.Context, cfg Config) (*Server, error) {
	s, err := startAnywhere(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("start local database: %w", err)
	}
	return s, nil
}

// startAnywhere starts in the directory of cfg or, when that cannot be used,
// in one below the cache directory that belongs to it.
func startAnywhere(ctx context.Context, cfg Config) (*Server, error) {
	if cfg.Throwaway {
		return startThrowaway(ctx, cfg)
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, err
	}
	s, err := startIn(ctx, &cfg, dir)
	unusable := (*unusableError)(nil)
	if !errors.As(err, &unusable) {
		return s, err
	}
	cacheDir, cacheErr := cacheDirOr(cfg.CacheDir)
	if cacheErr != nil {
		return nil, fmt.Errorf("%s cannot hold it: %w; and there is no cache directory: %w", dir, unusable.err, cacheErr)
	}
	sum := sha256.Sum256([]byte(dir))
	other := filepath.Join(cacheDir, "projects", hex.EncodeToString(sum[:8]))
	cfg.Logger.WarnContext(ctx, "the project's directory cannot hold the local database, it is in the cache directory instead", "project", dir, "dir", other, "reason", unusable.err)
	s, err = startIn(ctx, &cfg, other)
	if err != nil {
		return nil, fmt.Errorf("%s cannot hold it: %w; and in its place %s: %w", dir, unusable.err, other, err)
	}
	return s, nil
}

func startThrowaway(ctx context.Context, cfg Config) (*Server, error) {
	sweep(ctx, temporaryBase())
	s, err := startThrowawayIn(ctx, cfg, temporaryBase())
	if bad := (*badTemplateError)(nil); errors.As(err, &bad) {
		s, err = startThrowawayIn(ctx, cfg, temporaryBase())
	}
	return s, err
}

func startThrowawayIn(ctx context.Context, cfg Config, base string) (*Server, error) {
	dir, err := os.MkdirTemp(base, throwawayPrefix)
	if err != nil {
		return nil, err
	}
	// PostgreSQL's user must be able to pass; what is inside is private.
	err = os.Chmod(dir, 0o711)
	var s *Server
	if err == nil {
		s, err = startIn(ctx, &cfg, dir)
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return s, nil
}

func startIn(ctx context.Context, cfg *Config, dir string) (_ *Server, err error) {
	h, err := openHome(dir)
	if err != nil {
		return nil, err
	}
	l := &launch{cfg: cfg, home: h}
	l.lock, err = openLocked(ctx, h.path(lockName))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.lock.Close()) }()
	return l.attachOrStart(ctx)
}

// launch is one call of Start in one home. It holds the home's lock.
type launch struct {
	cfg  *Config
	home *home
	lock *os.File
}

// attachPatience is how long a server that can neither be joined nor is gone
// is waited for: it is stopping, with a last checkpoint perhaps.
const attachPatience = 20 * time.Second

func (l *launch) attachOrStart(ctx context.Context) (*Server, error) {
	for deadline := time.Now().Add(attachPatience); ; {
		alive, err := openLock(l.home.path(aliveName))
		if err != nil {
			return nil, &unusableError{err}
		}
		free, err := tryLock(int(alive.Fd()))
		if err != nil {
			return nil, errors.Join(err, alive.Close())
		}
		if free {
			s, err := l.startServer(ctx, alive)
			return s, errors.Join(err, alive.Close())
		}
		s, err := l.attach(ctx)
		err = errors.Join(err, alive.Close())
		if err == nil {
			return s, nil
		}
		if time.Now().After(deadline) || errors.Is(err, fs.ErrPermission) {
			// Not %w: an unusable directory is no reason to start with another
			// database while this one is in use.
			return nil, fmt.Errorf("%w: %s: %v%s", ErrBusy, l.home.dir, err, l.holder())
		}
		if pauseErr := pause(ctx, 2*time.Millisecond); pauseErr != nil {
			return nil, fmt.Errorf("join the server in %s (%v): %w", l.home.dir, err, pauseErr)
		}
	}
}

// holder describes who has a server that cannot be joined.
func (l *launch) holder() string {
	st, err := l.home.readState()
	if err != nil {
		return ""
	}
	pid, _ := postmaster(st.DataDir)
	text := fmt.Sprintf(" (PostgreSQL %s, started %s on %s", st.Version, st.Started.Format(time.DateTime), st.Host)
	if pid != 0 {
		text += fmt.Sprintf(", process %d", pid)
	}
	if _, err := os.Stat(st.RuntimeDir); err != nil {
		text += "; its socket is not visible from here: is it in another container?"
	}
	return text + ")"
}

// attach joins the running server, with a new watcher if it has lost its own.
func (l *launch) attach(ctx context.Context) (*Server, error) {
	st, err := l.home.readState()
	if err != nil {
		return nil, err
	}
	lease, err := openLease(st.RuntimeDir)
	if errors.Is(err, errLeaseDead) {
		lease, err = l.adopt(ctx, st)
	}
	if err != nil {
		return nil, err
	}
	if err := ping(ctx, st.RuntimeDir); err != nil {
		return nil, errors.Join(err, syscall.Close(lease))
	}
	s, err := l.server(st, lease, nil)
	if err != nil {
		return nil, errors.Join(err, syscall.Close(lease))
	}
	l.cfg.Logger.DebugContext(ctx, "joined the running local database", "dir", st.DataDir, "version", st.Version)
	return s, nil
}

// adopt gives a server whose watcher was killed a new one, on the same lease,
// so that the leases of all its users count again.
func (l *launch) adopt(ctx context.Context, st state) (int, error) {
	pid, _ := postmaster(st.DataDir)
	if pid == 0 {
		return -1, fmt.Errorf("%w, and its postmaster is gone too", errLeaseDead)
	}
	install := Install{BinDir: st.BinDir, Major: st.Major, Version: st.Version, Source: st.Source}
	id, err := chooseIdentity(ctx, install, l.home, st.DataDir)
	if err != nil {
		return -1, err
	}
	w := watcher{runtimeDir: st.RuntimeDir, dataDir: st.DataDir, adopt: pid, testShell: l.cfg.testShell}
	lease, _, err := w.spawn(id)
	if err == nil {
		l.cfg.Logger.DebugContext(ctx, "the local database had lost its watcher and has a new one", "dir", st.DataDir)
	}
	return lease, err
}

// ping connects once.
func ping(ctx context.Context, socketDir string) error {
	conn, err := pgconn.Connect(ctx, socketURL(socketDir, superuser))
	if err != nil {
		// Being refused for being one too many is a sign of life.
		if pg := (*pgconn.PgError)(nil); errors.As(err, &pg) && pg.Code == "53300" {
			return nil
		}
		return err
	}
	return conn.Close(ctx)
}

// startServer starts a server in a home where none runs. alive is the locked
// pg.alive.
func (l *launch) startServer(ctx context.Context, alive *os.File) (*Server, error) {
	l.removeLeftovers()
	install, err := l.chooseInstall(ctx)
	if err != nil {
		return nil, err
	}
	id, err := chooseIdentity(ctx, install, l.home, l.home.cluster(install.Major))
	if err != nil {
		return nil, err
	}
	s, fromTemplate, err := l.tryStart(ctx, alive, install, id, true)
	if err == nil || !fromTemplate || ctx.Err() != nil || errors.Is(err, ErrDiskFull) {
		return s, err
	}
	l.cfg.Logger.DebugContext(ctx, "a cluster made from the template does not start, making one without", "error", err)
	if dropErr := dropTemplate(l.cfg, install); dropErr != nil {
		return nil, errors.Join(err, dropErr)
	}
	if l.cfg.Throwaway { // its watcher has removed everything
		return nil, &badTemplateError{err}
	}
	// A cluster that has never run loses nothing.
	if removeErr := os.RemoveAll(l.home.cluster(install.Major)); removeErr != nil {
		return nil, errors.Join(err, removeErr)
	}
	s, _, err = l.tryStart(ctx, alive, install, id, false)
	return s, err
}

// badTemplateError says that a throw-away cluster made from the template, which
// is deleted by now, did not start.
type badTemplateError struct{ err error }

func (e *badTemplateError) Error() string { return e.err.Error() }
func (e *badTemplateError) Unwrap() error { return e.err }

// tryStart creates the cluster if there is none and starts it.
func (l *launch) tryStart(ctx context.Context, alive *os.File, install Install, id identity, useTemplate bool) (_ *Server, fromTemplate bool, err error) {
	dataDir := l.home.cluster(install.Major)
	if _, err := os.Stat(dataDir); errors.Is(err, fs.ErrNotExist) {
		fromTemplate, err = createCluster(ctx, l.cfg, l.home, l.lock, install, id, useTemplate)
		if isDiskFull(err) {
			return nil, false, fmt.Errorf("create a database in %s: %w, about 40 MB are needed: %w", l.home.dir, ErrDiskFull, err)
		}
		if err != nil {
			return nil, false, fmt.Errorf("create a database in %s: %w", l.home.dir, err)
		}
	} else if err != nil {
		return nil, false, err
	}
	// A copied or checked out project has other permissions than PostgreSQL wants.
	if err := os.Chmod(dataDir, 0o700); err != nil {
		return nil, false, err
	}
	running, err := removeStalePid(dataDir)
	if err != nil {
		return nil, false, err
	}
	if running != 0 {
		return nil, false, fmt.Errorf("%w: a PostgreSQL that was started by other means (process %d) uses %s: stop it, or use its postgres:// url", ErrBusy, running, dataDir)
	}
	s, err := l.run(ctx, alive, install, id)
	if isDiskFull(err) {
		err = fmt.Errorf("%w: %w", ErrDiskFull, err)
	}
	return s, fromTemplate, err
}

// chooseInstall finds PostgreSQL, of the version of the cluster that is there.
func (l *launch) chooseInstall(ctx context.Context) (Install, error) {
	have, err := l.home.existing()
	if err != nil {
		return Install{}, err
	}
	install := l.cfg.Install
	if install.BinDir == "" {
		opts := l.cfg.Find
		if opts.CacheDir == "" {
			opts.CacheDir = l.cfg.CacheDir
		}
		if have != 0 {
			opts.Major = have
		}
		install, err = Find(ctx, opts)
		missing := (*NotFoundError)(nil)
		if have != 0 && errors.As(err, &missing) && len(missing.others) > 0 {
			return Install{}, &VersionError{l.home.cluster(have), have, missing.others[0], missing.Commands}
		}
		if err != nil {
			return Install{}, err
		}
	}
	if have != 0 && have != install.Major {
		return Install{}, &VersionError{l.home.cluster(have), have, install, installCommands(runtime.GOOS, readOSRelease(), have, os.Geteuid() == 0)}
	}
	return install, nil
}

// removeLeftovers removes what killed processes left. What cannot be removed
// does no harm.
func (l *launch) removeLeftovers() {
	if st, err := l.home.readState(); err == nil && isRuntimeDir(st.RuntimeDir) {
		_ = os.RemoveAll(st.RuntimeDir)
	}
	for _, pattern := range []string{newPrefix + "*", ".aurora-tmp-*"} {
		names, err := filepath.Glob(filepath.Join(globQuote(l.home.dir), pattern))
		if err != nil {
			continue
		}
		for _, name := range names {
			_ = os.RemoveAll(name)
		}
	}
	if !l.cfg.Throwaway { // that has swept already
		sweep(context.Background(), temporaryBase())
	}
}

// throwawayHome is the directory to remove with the server, if any.
func (l *launch) throwawayHome() string {
	if l.cfg.Throwaway {
		return l.home.dir
	}
	return ""
}

// isRuntimeDir guards against removing anything else a damaged pg.json names.
func isRuntimeDir(dir string) bool {
	return filepath.IsAbs(dir) && strings.HasPrefix(filepath.Base(dir), runtimePrefix)
}

func globQuote(s string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(s)
}

// run starts PostgreSQL under a watcher and waits until it answers.
func (l *launch) run(ctx context.Context, alive *os.File, install Install, id identity) (*Server, error) {
	host, _ := os.Hostname()
	base := temporaryBase()
	if l.cfg.Throwaway {
		base = l.home.dir
	}
	st := state{
		RuntimeDir: filepath.Join(base, runtimePrefix+randomName()),
		DataDir:    l.home.cluster(install.Major),
		Major:      install.Major, Version: install.Version, BinDir: install.BinDir, Source: install.Source,
		Host: host, Started: time.Now().UTC().Truncate(time.Second),
	}
	// Written first: whatever happens from here on, the next start finds it.
	if err := l.home.writeState(st); err != nil {
		return nil, err
	}
	if l.cfg.Throwaway {
		if err := giveTree(l.home.dir, id); err != nil {
			return nil, err
		}
	}
	if err := makeRuntimeDir(st.RuntimeDir, l.home.dir, id); err != nil {
		return nil, errors.Join(err, os.RemoveAll(st.RuntimeDir))
	}
	log, err := os.OpenFile(l.home.path(logName), os.O_RDWR|os.O_CREATE|os.O_TRUNC|os.O_APPEND, 0o600)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(st.RuntimeDir))
	}
	defer log.Close()
	if err := l.home.give(log.Name()); err != nil {
		return nil, errors.Join(err, os.RemoveAll(st.RuntimeDir))
	}
	w := watcher{
		runtimeDir: st.RuntimeDir, dataDir: st.DataDir, remove: l.throwawayHome(),
		command: l.command(install, st), alive: alive, log: log, testShell: l.cfg.testShell,
	}
	lease, exited, err := w.spawn(id)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(st.RuntimeDir))
	}
	if err := waitReady(ctx, st.RuntimeDir, exited); err != nil {
		return nil, l.explain(ctx, errors.Join(err, syscall.Close(lease)), exited, log)
	}
	s, err := l.server(st, lease, exited)
	if err != nil {
		return nil, errors.Join(err, syscall.Close(lease))
	}
	s.started = true
	l.cfg.Logger.DebugContext(ctx, "started the local database", "dir", st.DataDir, "version", st.Version, "as", id.name)
	return s, nil
}

func makeRuntimeDir(dir, homeDir string, id identity) error {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, homeName), []byte(homeDir), 0o600); err != nil {
		return err
	}
	if err := syscall.Mkfifo(filepath.Join(dir, leaseName), 0o600); err != nil {
		return &fs.PathError{Op: "mkfifo", Path: filepath.Join(dir, leaseName), Err: err}
	}
	return giveTree(dir, id)
}

// giveTree gives a directory and the files directly in it to the identity,
// which is to delete them.
func giveTree(dir string, id identity) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if err := id.give(filepath.Join(dir, entry.Name())); err != nil {
			return err
		}
	}
	return id.give(dir)
}

// command is PostgreSQL's command line.
func (l *launch) command(install Install, st state) []string {
	settings := map[string]string{
		"listen_addresses":        "",
		"unix_socket_directories": `"` + st.RuntimeDir + `"`, // it is a list
		"unix_socket_permissions": "0700",
		"port":                    strconv.Itoa(socketPort),
		"cluster_name":            "aurora",
		"shared_buffers":          "32MB",
		"huge_pages":              "off",
		"jit":                     "off",
		"wal_level":               "minimal",
		"max_wal_senders":         "0",
		"fsync":                   "off", // see the package's documentation
		"TimeZone":                "UTC",
		"log_timezone":            "UTC",
		"logging_collector":       "off",
		"log_checkpoints":         "off",
		// Shared memory in files of the cluster: after a kill nothing is left
		// in /dev/shm, which containers also keep small.
		"dynamic_shared_memory_type": "mmap",
		// Above ERROR: what users' statements say does not belong in a file.
		"log_min_messages":        "log",
		"log_min_error_statement": "panic",
	}
	if l.cfg.Throwaway {
		settings["full_page_writes"] = "off"
		settings["autovacuum"] = "off"
	}
	for name, value := range l.cfg.Settings {
		settings[name] = value
	}
	names := make([]string, 0, len(settings))
	for name := range settings {
		names = append(names, name)
	}
	slices.Sort(names)
	command := []string{filepath.Join(install.BinDir, "postgres"), "-D", st.DataDir}
	for _, name := range names {
		command = append(command, "-c", name+"="+settings[name])
	}
	return command
}

var errEnded = errors.New("PostgreSQL ended while starting")

// waitReady waits until the server answers.
func waitReady(ctx context.Context, socketDir string, exited <-chan struct{}) error {
	socket := filepath.Join(socketDir, ".s.PGSQL."+strconv.Itoa(socketPort))
	for {
		if _, err := os.Stat(socket); err == nil && ping(ctx, socketDir) == nil {
			return nil
		}
		select {
		case <-exited:
			return errEnded
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// explain adds the end of the log to the error of a start that failed, after
// the server has ended.
func (l *launch) explain(ctx context.Context, cause error, exited <-chan struct{}, log *os.File) error {
	select {
	case <-exited:
	case <-time.After(attachPatience):
	}
	if ctx.Err() != nil {
		return cause
	}
	data := make([]byte, 16<<10)
	info, err := log.Stat()
	if err != nil {
		return errors.Join(cause, err)
	}
	n, _ := log.ReadAt(data, max(0, info.Size()-int64(len(data))))
	output := string(data[:n])
	if strings.Contains(output, "No space left") || noSpace(l.home.dir) {
		return fmt.Errorf("%w in %s: %w", cause, l.home.dir, syscall.ENOSPC)
	}
	return fmt.Errorf("%w%s", cause, indentTail(output))
}
