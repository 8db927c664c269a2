package main

import (
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The program of these tests is also the runner that they start, and the bundle
// that it fetches. It writes a file when it runs as one, which after a refusal
// must not be there.
const (
	asRunner = "AURORA_TEST_AS_RUNNER"
	marker   = "AURORA_TEST_MARKER"
)

func TestMain(m *testing.M) {
	switch {
	case os.Args[0] == "aurora":
		os.Exit(actAsBundle())
	case os.Getenv(asRunner) != "":
		main()
	}
	os.Exit(m.Run())
}

func actAsBundle() int {
	path, err := os.Executable()
	if err != nil {
		return 99
	}
	for _, p := range pairs {
		for _, name := range []string{p.url, p.digest} {
			if v, ok := os.LookupEnv(name); ok {
				fmt.Fprintf(os.Stderr, "the bundle knows %s=%s\n", name, v)
			}
		}
	}
	text := fmt.Sprintf("%d %s %s\n", os.Getpid(), path, strings.Join(os.Args[1:], " "))
	if err := os.WriteFile(os.Getenv(marker), []byte(text), 0o600); err != nil {
		return 99
	}
	return 3
}

// patience is far more than anything here takes.
const patience = 5 * time.Minute

type result struct {
	code   int
	stderr string
	ran    string // what the bundle wrote
	pid    int
	left   []string // in the temporary directory
}

// start starts the runner; the function waits for its end.
func start(t *testing.T, env []string, args ...string) (*os.Process, func() result) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	mark := filepath.Join(dir, "marker")
	tmp := filepath.Join(dir, "tmp")
	if err := os.Mkdir(tmp, 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, args...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), asRunner + "=1", marker + "=" + mark, "TMPDIR=" + tmp, "AWS_EC2_METADATA_DISABLED=true"}, env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	return cmd.Process, func() result {
		err := cmd.Wait()
		timer.Stop()
		r := result{stderr: stderr.String(), pid: cmd.Process.Pid}
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			r.code = exit.ExitCode()
		}
		ran, _ := os.ReadFile(mark)
		r.ran = string(ran)
		entries, err := os.ReadDir(tmp)
		if err != nil {
			t.Error(err)
		}
		for _, e := range entries {
			r.left = append(r.left, e.Name())
		}
		return r
	}
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// dynamic is a program whose loader is not there.
func dynamic(t *testing.T) []byte {
	t.Helper()
	const loader = "/does/not/exist/ld.so\x00"
	machine := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}[runtime.GOARCH]
	h := elf.Header64{
		Ident: [16]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:  uint16(elf.ET_EXEC), Machine: uint16(machine), Version: uint32(elf.EV_CURRENT), Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 1,
	}
	p := elf.Prog64{Type: uint32(elf.PT_INTERP), Flags: uint32(elf.PF_R), Off: 64 + 56, Filesz: uint64(len(loader)), Memsz: uint64(len(loader)), Align: 1}
	var b bytes.Buffer
	for _, part := range []any{h, p, []byte(loader)} {
		if err := binary.Write(&b, binary.LittleEndian, part); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

// serve serves objects, of which one is this program, and what is worse.
func serve(t *testing.T, objects map[string][]byte) string {
	self := objects["/self"]
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if object, ok := objects[r.URL.Path]; ok {
			_, _ = w.Write(object)
			return
		}
		http.NotFound(w, r)
	})
	mux.HandleFunc("/redirect", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://example.com/self", http.StatusFound)
	})
	mux.HandleFunc("/denied", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) })
	mux.HandleFunc("/huge", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "2147483648")
		_, _ = io.CopyN(w, bytes.NewReader(self), 1000)
	})
	mux.HandleFunc("/cut", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		_, _ = w.Write(self[:999])
	})
	mux.HandleFunc("/busy", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	mux.HandleFunc("/hang", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}

func TestRunner(t *testing.T) {
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	changed := bytes.Clone(self)
	changed[len(changed)/2] ^= 1
	foreign := bytes.Clone(self)
	foreign[18] = map[string]byte{"amd64": 183, "arm64": 62}[runtime.GOARCH]
	broken := bytes.Clone(self[:64]) // the header of a program, and no program
	linked := dynamic(t)
	server := serve(t, map[string][]byte{
		"/self": self, "/changed": changed, "/foreign": foreign, "/broken": broken, "/linked": linked, "/short": self[:len(self)-1],
	})
	for _, tt := range []struct {
		name string
		env  string // URL and SHA256 of /self unless given
		args string
		code int
		text string // on standard error, or what the bundle got
	}{
		{"without arguments", "", "", 3, "migrate apply"},
		{"with arguments", "", "migrate --env=prod status", 3, "migrate --env=prod status"},
		{"the names of old", "MIGRATION_BUNDLE_URL=/self MIGRATION_BUNDLE_SHA256=" + digest(self), "x", 3, "x"},
		{"both pairs", "AURORA_BUNDLE_URL=/self MIGRATION_BUNDLE_URL=/self MIGRATION_BUNDLE_SHA256=" + digest(self) + " AURORA_BUNDLE_SHA256=" + digest(self), "x", 3, "x"},
		{"no URL", "AURORA_BUNDLE_SHA256=" + digest(self), "", exitRequest, "AURORA_BUNDLE_URL is not set"},
		{"no digest", "AURORA_BUNDLE_URL=/self", "", exitRequest, "AURORA_BUNDLE_SHA256 is not set"},
		{"no size", "AURORA_BUNDLE_MAX_SIZE=1G", "", exitRequest, "AURORA_BUNDLE_MAX_SIZE"},
		{"no time", "AURORA_BUNDLE_TIMEOUT=5", "", exitRequest, "AURORA_BUNDLE_TIMEOUT"},
		{"http", "AURORA_BUNDLE_URL=http://example.com/self", "", exitRequest, "only for this machine"},
		{"no object", "AURORA_BUNDLE_URL=/none", "", exitNotFound, "404"},
		{"a busy server", "AURORA_BUNDLE_URL=/busy AURORA_BUNDLE_TIMEOUT=4m", "", exitUnavailable, "503"},
		{"no directory", "TMPDIR=/does/not/exist", "", exitDisk, "/does/not/exist"},
		{"cut off", "AURORA_BUNDLE_URL=/cut", "", exitTruncated, "999 bytes"},
		{"hanging", "AURORA_BUNDLE_URL=/hang AURORA_BUNDLE_TIMEOUT=100ms", "", exitTimeout, "not fetched within 100ms"},
		{"redirected", "AURORA_BUNDLE_URL=/redirect", "", exitRedirect, "http://example.com"},
		{"denied", "AURORA_BUNDLE_URL=/denied", "", exitDenied, "403"},
		{"changed", "AURORA_BUNDLE_URL=/changed", "", exitDigest, digest(changed)},
		{"short", "AURORA_BUNDLE_URL=/short", "", exitDigest, digest(self[:len(self)-1])},
		{"huge", "AURORA_BUNDLE_URL=/huge", "", exitTooLarge, "2147483648 bytes"},
		{"too large for the variable", "AURORA_BUNDLE_MAX_SIZE=1000", "", exitTooLarge, "more than 1000 bytes"},
		{"the other architecture", "AURORA_BUNDLE_URL=/foreign AURORA_BUNDLE_SHA256=" + digest(foreign), "", exitPlatform, "this machine is " + runtime.GOARCH},
		{"a loader that is not here", "AURORA_BUNDLE_URL=/linked AURORA_BUNDLE_SHA256=" + digest(linked), "", exitExec, "link it statically"},
		{"no program", "AURORA_BUNDLE_URL=/broken AURORA_BUNDLE_SHA256=" + digest(broken), "", exitExec, "start the bundle"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			env := strings.Fields(strings.ReplaceAll(tt.env, "URL=/", "URL="+server+"/"))
			if !strings.Contains(tt.env, "BUNDLE_URL") && tt.name != "no URL" {
				env = append(env, "AURORA_BUNDLE_URL="+server+"/self")
			}
			if !strings.Contains(tt.env, "BUNDLE_SHA256") && tt.name != "no digest" {
				env = append(env, "AURORA_BUNDLE_SHA256="+digest(self))
			}
			_, wait := start(t, env, strings.Fields(tt.args)...)
			checkResult(t, wait(), tt.code, tt.text)
		})
	}
}

// checkResult checks what became of the runner; 3 is the code of the bundle.
func checkResult(t *testing.T, r result, code int, text string) {
	t.Helper()
	if r.code != code {
		t.Errorf("exit code %d, want %d\n%s", r.code, code, r.stderr)
	}
	if code != 3 {
		if r.ran != "" || len(r.left) > 0 {
			t.Errorf("the bundle ran (%q), or something is left: %v", r.ran, r.left)
		}
		if !strings.Contains(r.stderr, text) || !strings.HasPrefix(r.stderr, "aurora-runner: ") {
			t.Errorf("standard error lacks %q: %s", text, r.stderr)
		}
		return
	}
	// The same process, and a file that nobody else can change.
	fields := strings.SplitN(r.ran, " ", 3)
	if len(fields) != 3 || fields[0] != fmt.Sprint(r.pid) || strings.TrimSpace(fields[2]) != text {
		t.Errorf("the bundle ran as %q, want pid %d with %q", r.ran, r.pid, text)
	}
	if r.stderr != "" {
		t.Errorf("standard error: %s", r.stderr)
	}
}

// TestOnePair: an old bundle in a task definition neither wins over the one that
// is asked for, nor lends it half of its name.
func TestOnePair(t *testing.T) {
	for _, tt := range []struct {
		vars   string // in the order of the pairs: URL, digest, URL, digest
		url    string
		digest string
		want   string
	}{
		{"a 1 - -", "a", "1", ""},
		{"- - b 2", "b", "2", ""},
		{"a 1 a 1", "a", "1", ""},
		{"a 1 b 2", "", "", "do not name the same bundle"},
		{"a 1 a 2", "", "", "do not name the same bundle"},
		{"a 1 b 1", "", "", "do not name the same bundle"},
		{"a - b 2", "", "", "do not name the same bundle"},
		{"a - - 2", "", "", "do not name the same bundle"},
		{"- 1 b -", "", "", "do not name the same bundle"},
		{"- - b -", "", "", "MIGRATION_BUNDLE_SHA256 is not set"},
		{"- - - 2", "", "", "MIGRATION_BUNDLE_URL is not set"},
		{"a - - -", "", "", "AURORA_BUNDLE_SHA256 is not set"},
		{"- 1 - -", "", "", "AURORA_BUNDLE_URL is not set"},
		{"- - - -", "", "", "AURORA_BUNDLE_URL is not set"},
	} {
		v := strings.Fields(strings.ReplaceAll(tt.vars, "-", "."))
		vars := map[string]string{"AURORA_BUNDLE_URL": v[0], "AURORA_BUNDLE_SHA256": v[1], "MIGRATION_BUNDLE_URL": v[2], "MIGRATION_BUNDLE_SHA256": v[3]}
		o, err := options(func(name string) string { return strings.Trim(vars[name], ".") })
		switch {
		case tt.want != "":
			if exitCode(err) != exitRequest || !strings.Contains(fmt.Sprint(err), tt.want) {
				t.Errorf("%s: got %v, want %s", tt.vars, err, tt.want)
			}
		case err != nil || o.URL != tt.url || o.SHA256 != tt.digest:
			t.Errorf("%s: got %s and %s, %v", tt.vars, o.URL, o.SHA256, err)
		}
	}
}

// TestSignalBeforeTheBundle: a signal that comes when all is there, and nothing
// of it runs yet.
func TestSignalBeforeTheBundle(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "private")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "bundle") // not there, so that this process stays
	signals := make(chan os.Signal, 1)
	signals <- syscall.SIGTERM
	if err := become(path, nil, signals); exitCode(err) != 128+int(syscall.SIGTERM) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("the directory is left")
	}
	if err := become(path, nil, signals); exitCode(err) != exitExec {
		t.Errorf("without a signal: got %v", err)
	}
}

// TestNotAllowedToRun: the hint, as only root could mount a directory that
// forbids it.
func TestNotAllowedToRun(t *testing.T) {
	if text := (&execError{syscall.EACCES}).Error(); !strings.Contains(text, "noexec") || !strings.Contains(text, "TMPDIR") {
		t.Errorf("no hint in %q", text)
	}
}

// TestSignalWhileFetching: as the first process of a container the runner must
// not leave it to the system to end it.
func TestSignalWhileFetching(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(sig.String(), func(t *testing.T) {
			asked := make(chan struct{})
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = w.Write([]byte("\x7fELF"))
				w.(http.Flusher).Flush()
				close(asked)
				<-r.Context().Done()
			}))
			defer server.Close()
			process, wait := start(t, []string{"AURORA_BUNDLE_URL=" + server.URL + "/b", "AURORA_BUNDLE_SHA256=" + digest(nil)})
			<-asked
			if err := process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			r := wait()
			if r.code != 128+int(sig) || r.ran != "" || len(r.left) > 0 {
				t.Errorf("got %+v", r)
			}
		})
	}
}
