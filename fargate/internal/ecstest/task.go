//go:build linux

package ecstest

import (
	"bufio"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// A task is a process, or was.
type task struct {
	s                *Server
	def              Definition
	id, arn, cluster string
	startedBy        string
	command          []string
	env              map[string]string
	unseen           int

	// Guarded by s.mu.
	status, desired, stopCode, reason, containerReason string
	exit                                               *int
	process                                            *os.Process
	timer                                              *time.Timer
	created, stopped                                   time.Time
}

func (s *Server) newTask(d Definition, in runTaskInput) *task {
	id := make([]byte, 16)
	_, _ = rand.Read(id)
	t := &task{
		s: s, def: d, id: hex.EncodeToString(id), cluster: clusterName(in.Cluster), startedBy: in.StartedBy,
		command: d.Command, env: maps.Clone(d.Env), unseen: s.Lag,
		status: "PROVISIONING", desired: "RUNNING", created: time.Now(),
	}
	if t.env == nil {
		t.env = map[string]string{}
	}
	t.arn = fmt.Sprintf("arn:aws:ecs:%s:%s:task/%s/%s", Region, Account, t.cluster, t.id)
	return t
}

// describe is the task as the API shows it.
func (t *task) describe() map[string]any {
	container := map[string]any{"name": t.def.Container, "lastStatus": t.status, "taskArn": t.arn}
	if t.exit != nil {
		container["exitCode"] = *t.exit
	}
	if t.containerReason != "" {
		container["reason"] = t.containerReason
	}
	out := map[string]any{
		"taskArn": t.arn, "taskDefinitionArn": t.def.arn(), "lastStatus": t.status, "desiredStatus": t.desired,
		"launchType": "FARGATE", "startedBy": t.startedBy, "containers": []any{container},
		"clusterArn": fmt.Sprintf("arn:aws:ecs:%s:%s:cluster/%s", Region, Account, t.cluster),
		"createdAt":  float64(t.created.UnixMilli()) / 1000,
	}
	if t.stopCode != "" {
		out["stopCode"], out["stoppedReason"] = t.stopCode, t.reason
	}
	if !t.stopped.IsZero() {
		out["stoppedAt"] = float64(t.stopped.UnixMilli()) / 1000
	}
	return out
}

// run is the task's life.
func (t *task) run() {
	defer t.s.running.Done()
	if t.def.StartFailure != "" {
		t.end(nil, "TaskFailedToStart", t.def.StartFailure, "")
		return
	}
	cmd, clean, err := t.prepare()
	if err != nil {
		t.end(nil, "TaskFailedToStart", "CannotStartContainerError: "+err.Error(), "")
		return
	}
	defer clean()
	pipe, w := io.Pipe()
	cmd.Stdout, cmd.Stderr = w, w
	t.s.mu.Lock()
	if t.desired == "STOPPED" {
		t.s.mu.Unlock()
		t.end(nil, "", "", "")
		return
	}
	if err = cmd.Start(); err == nil {
		t.process, t.status = cmd.Process, "RUNNING"
	}
	t.s.mu.Unlock()
	if err != nil {
		t.end(nil, "TaskFailedToStart", "CannotStartContainerError: "+err.Error(), "")
		return
	}
	var reader sync.WaitGroup
	reader.Go(func() { t.copyLog(pipe) })
	err = cmd.Wait()
	_ = w.Close()
	reader.Wait()
	code := 0
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		code = exit.ExitCode()
		if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
			code = 128 + int(ws.Signal())
		}
	}
	t.end(&code, "EssentialContainerExited", "Essential container in task exited", "")
}

// prepare makes the container: a file system of its own, and a process in it.
func (t *task) prepare() (*exec.Cmd, func(), error) {
	argv := append(append([]string(nil), t.def.Entrypoint...), t.command...)
	cmd := &exec.Cmd{Path: argv[0], Args: argv, SysProcAttr: &syscall.SysProcAttr{Setpgid: true}}
	dir, err := os.MkdirTemp("", "task-*")
	if err != nil {
		return nil, nil, err
	}
	clean := func() { _ = os.RemoveAll(dir) }
	if isRoot() {
		if err := CopyImage(dir, t.def.Root); err != nil {
			clean()
			return nil, nil, err
		}
		cmd.Dir = "/"
		cmd.SysProcAttr.Chroot = dir
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: User, Gid: User}
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWPID
	} else {
		cmd.Path = filepath.Join(t.def.Root, argv[0])
		cmd.Env = append(cmd.Env, "TMPDIR="+dir)
	}
	t.env["AWS_REGION"] = Region
	t.env["AWS_EC2_METADATA_DISABLED"] = "true"                      // a task of Fargate has no such service
	t.env["ECS_CONTAINER_METADATA_URI_V4"] = t.s.URL + "/v4/" + t.id // which says nothing here
	if t.def.TaskRole != "" {
		t.env["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = t.s.URL + "/credentials"
		t.env["AWS_CONTAINER_AUTHORIZATION_TOKEN"] = "the task"
	}
	for name, value := range t.env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	return cmd, clean, nil
}

// CopyImage copies an unpacked image with its modes; os.CopyFS would lose the
// sticky bit of /tmp to the umask.
func CopyImage(to, from string) error {
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		return err
	}
	return filepath.WalkDir(from, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if rel == "." {
			return os.Chmod(to, 0o755)
		}
		return os.Chmod(filepath.Join(to, rel), info.Mode())
	})
}

func (t *task) copyLog(r io.Reader) {
	key := t.def.LogGroup + "/" + t.def.LogPrefix + "/" + t.def.Container + "/" + t.id
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		t.s.mu.Lock()
		t.s.logs[key] = append(t.s.logs[key], event{time.Now(), lines.Text()})
		t.s.mu.Unlock()
	}
	_, _ = io.Copy(io.Discard, r)
}

// end records how the task ended, unless somebody has said why already.
func (t *task) end(exit *int, code, reason, containerReason string) {
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	if t.timer != nil {
		t.timer.Stop()
	}
	t.status, t.desired, t.exit, t.stopped, t.process = "STOPPED", "STOPPED", exit, time.Now(), nil
	if t.stopCode == "" {
		t.stopCode, t.reason = code, reason
	}
	if t.containerReason == "" {
		t.containerReason = containerReason
	}
}

// stop asks the process to end, and kills it when it takes too long. The
// server's mutex is held.
func (t *task) stop(code, reason string) {
	if t.desired == "STOPPED" {
		return
	}
	t.desired, t.stopCode, t.reason = "STOPPED", code, reason
	if t.process == nil {
		return
	}
	t.status = "DEACTIVATING"
	_ = t.process.Signal(syscall.SIGTERM)
	timeout := t.def.StopTimeout
	if timeout == 0 {
		timeout = 30 * time.Second
	}
	t.timer = time.AfterFunc(timeout, func() {
		t.s.mu.Lock()
		defer t.s.mu.Unlock()
		t.kill()
	})
}

// kill ends the process and what it started. The server's mutex is held.
func (t *task) kill() {
	if t.process != nil {
		_ = syscall.Kill(-t.process.Pid, syscall.SIGKILL)
	}
}

// Kill ends a task as the kernel does that has no memory left.
func (s *Server) Kill(task, containerReason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t, ok := s.tasks[task]; ok {
		t.containerReason = containerReason
		t.kill()
	}
}

// Reclaim stops a task as AWS does that wants the machine back.
func (s *Server) Reclaim(task, code, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t, ok := s.tasks[task]; ok {
		t.stop(code, reason)
	}
}
