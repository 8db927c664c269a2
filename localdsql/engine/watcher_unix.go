//go:build linux || darwin

package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
)

// closingName is what the watcher calls the lease while it looks whether it
// was really the last user who went.
const closingName = "closing"

// watcherScript runs PostgreSQL and stops it when the last user has gone. It
// is started with the reading end of the lease as descriptor 3 and the locked
// pg.alive as descriptor 4, which PostgreSQL inherits.
//
// When a read of the lease ends there is no user left. One may come just then,
// so the lease is renamed first, which keeps any more from coming, and read
// again: a user writes a line as soon as it has opened the lease.
//
// With a process id as fourth argument it takes over a server whose watcher
// was killed. Process ids are only signalled while the process is known to be
// our PostgreSQL: the shell that started it is its parent and has not waited
// for it, or postmaster.pid says so. Signals are repeated because PostgreSQL
// ignores them in its first milliseconds; after half a minute the immediate
// shutdown is asked for.
const watcherScript = `# stops PostgreSQL when the last process that uses it has ended
run=$1 data=$2 remove=$3 pg=$4 parent=
shift 4
unset AURORA_PG_WATCHER
exec 5>&- 6>&- 7>&- 8>&- 9>&-
ours() {
	kill -0 "$pg" 2>/dev/null || return 1
	if [ -n "$parent" ] && kill -0 "$parent" 2>/dev/null; then return 0; fi
	p=
	read -r p 2>/dev/null <"$data/postmaster.pid"
	[ "$p" = "$pg" ]
}
clean() {
	rm -rf "$run"
	[ -z "$remove" ] || rm -rf "$remove"
}
watch() {
	while :; do
		while read -r x <&3; do :; done
		mv "$run/lease" "$run/closing" 2>/dev/null
		read -r x <&3 || break
		mv "$run/closing" "$run/lease" 2>/dev/null
	done
	n=0 sig=INT
	while ours; do
		kill -$sig "$pg" 2>/dev/null
		n=$((n+1))
		[ $n -lt 300 ] || sig=QUIT
		sleep 0.1 2>/dev/null || sleep 1
	done
	clean
}
if [ -n "$pg" ]; then
	watch
	exit
fi
"$@" 3<&- &
pg=$!
parent=$$
( exec 4<&- >/dev/null 2>&1; watch ) &
reader=$!
exec 3<&-
trap 'kill -INT "$pg" 2>/dev/null' TERM INT HUP
while :; do
	wait "$pg"
	[ $? -gt 128 ] && kill -0 "$pg" 2>/dev/null || break
done
kill "$reader" 2>/dev/null
wait "$reader" 2>/dev/null
clean
`

// watcher describes one start of watcherScript.
type watcher struct {
	runtimeDir string
	dataDir    string
	remove     string   // directory to remove at the end, empty for none
	adopt      int      // running server to take over, 0 to start one
	command    []string // what to start
	alive      *os.File // the locked pg.alive; nil when adopting
	log        *os.File
	testShell  string // set by tests only: another shell
}

// shell is the program that runs watcherScript.
func (w watcher) shell() string {
	if w.testShell != "" {
		return w.testShell
	}
	return "/bin/sh"
}

// spawn starts the watcher and returns this process's lease and a channel that
// is closed when the watcher has ended.
func (w watcher) spawn(id identity) (lease int, exited <-chan struct{}, err error) {
	name := filepath.Join(w.runtimeDir, leaseName)
	flags := syscall.O_NONBLOCK | syscall.O_CLOEXEC | syscall.O_NOFOLLOW
	readFd, err := syscall.Open(name, syscall.O_RDONLY|flags, 0)
	if err != nil {
		return -1, nil, fmt.Errorf("open %s: %w", name, err)
	}
	reader := os.NewFile(uintptr(readFd), name)
	defer reader.Close()
	lease, err = syscall.Open(name, syscall.O_WRONLY|flags, 0)
	if err != nil {
		return -1, nil, fmt.Errorf("open %s: %w", name, err)
	}
	// The shell's read would take "try again" for the end of the file.
	if err := syscall.SetNonblock(readFd, false); err != nil {
		return -1, nil, errors.Join(err, syscall.Close(lease))
	}
	pid := ""
	if w.adopt != 0 {
		pid = strconv.Itoa(w.adopt)
	}
	// The text travels in the environment to keep the process list readable.
	args := append([]string{"-c", `eval "$AURORA_PG_WATCHER"`, "aurora-pg-watcher", w.runtimeDir, w.dataDir, w.remove, pid}, w.command...)
	// Not bound to a context: it outlives this process when others use the server.
	cmd := exec.Command(w.shell(), args...)
	cmd.SysProcAttr = id.attr()
	cmd.Dir = "/"
	cmd.Env = append(serverEnv(), "AURORA_PG_WATCHER="+watcherScript)
	cmd.Stdout, cmd.Stderr = w.log, w.log
	cmd.ExtraFiles = []*os.File{reader}
	if w.alive != nil {
		cmd.ExtraFiles = append(cmd.ExtraFiles, w.alive)
	}
	if err := cmd.Start(); err != nil {
		return -1, nil, errors.Join(fmt.Errorf("start watcher: %w", err), syscall.Close(lease))
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = cmd.Wait() // only to have no zombie; how it ended says nothing
	}()
	return lease, done, nil
}

var (
	errLeaseClosing = errors.New("the server is stopping")
	errLeaseDead    = errors.New("the server has no watcher")
	errLeaseGone    = errors.New("the server has no lease")
)

// openLease takes a share in a server: the descriptor it returns keeps the
// server up until it is closed, at the latest by the end of the process. It is
// a number and not an *os.File because nothing may close it when it becomes
// garbage.
func openLease(runtimeDir string) (int, error) {
	lease, closing := filepath.Join(runtimeDir, leaseName), filepath.Join(runtimeDir, closingName)
	fd, err := openWriteEnd(lease)
	if errors.Is(err, fs.ErrNotExist) {
		other, err := openWriteEnd(closing)
		switch {
		case err == nil:
			return -1, errors.Join(errLeaseClosing, syscall.Close(other))
		case errors.Is(err, errLeaseDead): // killed between two renames
			return -1, errors.Join(errLeaseDead, os.Rename(closing, lease))
		}
		return -1, errLeaseGone
	}
	if err != nil {
		return -1, err
	}
	if _, err := syscall.Write(fd, []byte("\n")); err != nil {
		return -1, errors.Join(errLeaseDead, syscall.Close(fd))
	}
	return fd, nil
}

func openWriteEnd(name string) (int, error) {
	fd, err := syscall.Open(name, syscall.O_WRONLY|syscall.O_NONBLOCK|syscall.O_CLOEXEC|syscall.O_NOFOLLOW, 0)
	if errors.Is(err, syscall.ENXIO) {
		return -1, errLeaseDead
	}
	if err != nil {
		return -1, fmt.Errorf("open %s: %w", name, err)
	}
	var st syscall.Stat_t
	if err := syscall.Fstat(fd, &st); err != nil {
		return -1, errors.Join(fmt.Errorf("look at %s: %w", name, err), syscall.Close(fd))
	}
	if uint32(st.Mode)&syscall.S_IFMT != syscall.S_IFIFO {
		return -1, errors.Join(fmt.Errorf("%s is not a FIFO", name), syscall.Close(fd))
	}
	return fd, nil
}
