//go:build linux || darwin

package engine

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
)

// pidFileName is PostgreSQL's own lock file in a cluster.
const pidFileName = "postmaster.pid"

// postmaster returns the process id in a cluster's postmaster.pid if that
// process is a postgres of this cluster, otherwise 0. stale says that there is
// a file which names no such process.
func postmaster(dataDir string) (pid int, stale bool) {
	data, err := os.ReadFile(filepath.Join(dataDir, pidFileName))
	if err != nil {
		return 0, false
	}
	line, _, _ := strings.Cut(string(data), "\n")
	pid, err = strconv.Atoi(strings.TrimSpace(line))
	if err != nil || pid <= 1 {
		return 0, true
	}
	if !runsCluster(pid, dataDir) {
		return 0, true
	}
	return pid, false
}

// runsCluster says whether a process is a postgres of a cluster: its working
// directory is the cluster, or its command line names it.
func runsCluster(pid int, dataDir string) bool {
	if err := syscall.Kill(pid, 0); err != nil && !errors.Is(err, syscall.EPERM) {
		return false
	}
	if runtime.GOOS == "linux" {
		proc := "/proc/" + strconv.Itoa(pid)
		if cwd, err := os.Readlink(proc + "/cwd"); err == nil {
			comm, err := os.ReadFile(proc + "/comm")
			return sameDir(cwd, dataDir) && err == nil && strings.HasPrefix(string(comm), "postgres")
		}
		if line, err := os.ReadFile(proc + "/cmdline"); err == nil {
			return strings.Contains(string(line), dataDir+"\x00") && strings.Contains(string(line), "postgres")
		}
	}
	line, err := exec.Command("ps", "-ww", "-o", "command=", "-p", strconv.Itoa(pid)).Output()
	if err != nil {
		// Without a way to know PostgreSQL decides.
		return !isExit(err)
	}
	return strings.Contains(string(line), dataDir) && strings.Contains(string(line), "postgres")
}

func isExit(err error) bool {
	var exit *exec.ExitError
	return errors.As(err, &exit)
}

func sameDir(a, b string) bool {
	ai, err1 := os.Stat(a)
	bi, err2 := os.Stat(b)
	return err1 == nil && err2 == nil && os.SameFile(ai, bi)
}

// removeStalePid removes a postmaster.pid whose process is gone or is another
// program's by now. The caller holds pg.alive, so no server of ours runs. One
// that somebody started by hand is left alone and reported.
func removeStalePid(dataDir string) (running int, err error) {
	pid, stale := postmaster(dataDir)
	if pid != 0 {
		return pid, nil
	}
	if !stale {
		return 0, nil
	}
	if err := os.Remove(filepath.Join(dataDir, pidFileName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	return 0, nil
}
