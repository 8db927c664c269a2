package localdsql

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// ErrNotRunning says that nobody serves a cluster for other processes.
var ErrNotRunning = errors.New("local DSQL is not running")

// RunningError says that somebody serves the cluster already.
type RunningError struct{ Running Running }

// Error says which process serves it, and where.
func (e *RunningError) Error() string {
	if e.Running.Port == 0 {
		return fmt.Sprintf("local DSQL is already starting (process %d)", e.Running.PID)
	}
	return fmt.Sprintf("local DSQL is already running on localhost:%d (process %d)", e.Running.Port, e.Running.PID)
}

// Running describes a cluster that a process serves for others.
type Running struct {
	Name     string    `json:"name"`
	Port     int       `json:"port"` // 0 while it is starting
	PID      int       `json:"pid"`
	CAFile   string    `json:"ca_file"`
	Region   string    `json:"region,omitempty"` // empty when any will do
	Day      string    `json:"day"`              // of the rules
	Postgres string    `json:"postgres"`         // version
	Signed   bool      `json:"signed,omitempty"` // tokens need the secret
	Faults   string    `json:"faults,omitempty"`
	Started  time.Time `json:"started"`
	Stopping bool      `json:"stopping,omitempty"` // it takes no more connections

	dir string
}

// The files of a cluster that is served for others, in its directory. What
// says that it is served is a lock, not a process id: the lock ends with its
// holder in whatever way that ends. A second lock is held by who looks and by
// who takes or leaves the first: under it lock and description fit together.
type runFiles struct{ held, look, state string }

func filesOf(dir, name string) runFiles {
	return runFiles{
		held:  filepath.Join(dir, "dsql-"+name+".lock"),
		look:  filepath.Join(dir, "dsql.lock"),
		state: filepath.Join(dir, "dsql-"+name+".json"),
	}
}

// lookPatience bounds the wait for the second lock, which is held for as long
// as it takes to write a small file.
const lookPatience = 10 * time.Second

// locked runs do while nobody else looks or changes anything.
func (r runFiles) locked(ctx context.Context, do func() error) error {
	ctx, cancel := context.WithTimeout(ctx, lookPatience)
	defer cancel()
	for {
		f, ok, err := tryLock(r.look)
		if err != nil {
			return err
		}
		if ok {
			return errors.Join(giveToOwner(r.look), do(), f.Close())
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the lock on %s: %w", r.look, context.Cause(ctx))
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// Lookup returns what runs for a cluster of a directory, or ErrNotRunning. What
// a killed process left is not taken for one that runs.
func Lookup(ctx context.Context, dir, name string) (*Running, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	files := filesOf(dir, name)
	if _, err := os.Stat(files.held); errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotRunning // and nothing is made by looking
	}
	var r *Running
	err := files.locked(ctx, func() error {
		f, free, err := tryLock(files.held)
		if err != nil {
			return err
		}
		if free {
			return errors.Join(ErrNotRunning, f.Close())
		}
		r, err = files.read(dir)
		return err
	})
	if errors.Is(err, ErrNotRunning) {
		return nil, ErrNotRunning
	}
	if err != nil {
		return nil, fmt.Errorf("look for local DSQL in %s: %w", dir, err)
	}
	return r, nil
}

// Await is Lookup, and waits until ctx ends for what is starting or stopping.
func Await(ctx context.Context, dir, name string) (*Running, error) {
	for {
		r, err := Lookup(ctx, dir, name)
		if err != nil || r.Port != 0 && !r.Stopping {
			return r, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for local DSQL, which process %d is starting or stopping: %w", r.PID, context.Cause(ctx))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (r runFiles) read(dir string) (*Running, error) {
	data, err := os.ReadFile(r.state)
	if err != nil {
		return nil, err
	}
	running := &Running{dir: dir}
	if err := json.Unmarshal(data, running); err != nil {
		return nil, fmt.Errorf("read %s: %w", r.state, err)
	}
	return running, nil
}

// take makes this process the one that serves the cluster, or returns a
// *RunningError. The description must be written once it is known.
func (r runFiles) take(ctx context.Context, dir string, running Running) (*os.File, error) {
	var held *os.File
	err := r.locked(ctx, func() error {
		f, free, err := tryLock(r.held)
		if err != nil {
			return err
		}
		if !free {
			other, err := r.read(dir)
			if err != nil {
				return fmt.Errorf("local DSQL is already running: %w", err)
			}
			return &RunningError{*other}
		}
		if err := errors.Join(giveToOwner(r.held), r.write(running)); err != nil {
			return errors.Join(err, f.Close())
		}
		held = f
		return nil
	})
	return held, err
}

func (r runFiles) write(running Running) error {
	data, err := json.MarshalIndent(running, "", "  ")
	if err != nil {
		return err
	}
	return replaceFile(r.state, append(data, '\n'), 0o600)
}

// DefaultPort is where Serve begins to look for a free port: D, S, Q and L on
// the keys of a telephone. It lies below those that kernels hand out, so that
// nobody's connection is in the way.
const DefaultPort = 3775

// portsTried is how many ports Serve tries from DefaultPort.
const portsTried = 20

// addresses returns what a cluster may listen on, the best first: where it was
// the last time, since its users know that, and then what is free.
func (r runFiles) addresses(dir string) []string {
	var out []string
	if last, err := r.read(dir); err == nil && last.Port > 0 {
		out = append(out, loopback(last.Port))
	}
	for i := range portsTried {
		out = append(out, loopback(DefaultPort+i))
	}
	return out
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// OpenLog opens an empty log file for a process that is to call [Serve], and
// makes the directory.
func OpenLog(dir, name string) (*os.File, error) {
	err := os.Mkdir(dir, 0o755)
	if err == nil {
		err = giveToOwner(dir)
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("make the directory for local DSQL: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "dsql-"+name+".log"), os.O_WRONLY|os.O_CREATE|os.O_TRUNC|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("make the log of local DSQL: %w", err)
	}
	if err := giveToOwner(f.Name()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Serve opens a cluster of cfg.Dir for other processes to find with [Lookup]
// and [Connect], and serves it until ctx ends, which is no error. Without an
// Address it takes the port it had the last time, or else the first free one
// from DefaultPort. ready, which may be nil, is called once it accepts
// connections. When the cluster is served already the error is a *RunningError.
func Serve(ctx context.Context, cfg Config, name string, ready func(Running)) error {
	if err := CheckName(name); err != nil {
		return err
	}
	if cfg.Throwaway {
		return errors.New("serve local DSQL: a throw-away cluster cannot be found by others")
	}
	if running, err := Await(ctx, cfg.Dir, name); err == nil {
		return &RunningError{*running}
	} else if !errors.Is(err, ErrNotRunning) {
		return err
	}
	addresses := []string{cfg.Address}
	if cfg.Address == "" {
		addresses = filesOf(cfg.Dir, name).addresses(cfg.Dir)
	}
	s, err := Open(ctx, cfg)
	if err != nil {
		return err
	}
	return s.serve(ctx, name, addresses, ready)
}

// servePatience bounds the end of Serve; PostgreSQL writes a checkpoint.
const servePatience = 30 * time.Second

// serve serves a cluster for others and closes the server. The lock is the last
// to go: whoever waits for the end may remove the directory then.
func (s *Server) serve(ctx context.Context, name string, addresses []string, ready func(Running)) (err error) {
	var held *os.File
	defer func() {
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), servePatience)
		defer cancel()
		err = errors.Join(err, s.Close(stop))
		if held != nil {
			err = errors.Join(err, held.Close())
		}
	}()
	files := filesOf(s.cfg.Dir, name)
	running := Running{
		Name: name, PID: os.Getpid(), CAFile: s.authority.file, Region: s.cfg.Region, Day: s.Day(),
		Postgres: s.Install().Version, Signed: s.cfg.Secret != "", Faults: s.cfg.Faults.String(),
		Started: time.Now().UTC().Truncate(time.Second),
	}
	if held, err = files.take(ctx, s.cfg.Dir, running); err != nil {
		return err
	}
	var c *Cluster
	for _, address := range addresses {
		c, err = s.clusterOn(ctx, name, address)
		if !errors.Is(err, syscall.EADDRINUSE) {
			break
		}
	}
	if err != nil {
		return err
	}
	running.Port = c.Port()
	if err := files.locked(ctx, func() error { return files.write(running) }); err != nil {
		return err
	}
	if ready != nil {
		ready(running)
	}
	if err := untilRemoved(ctx, held); err != nil {
		return err
	}
	running.Stopping = true
	err = files.locked(context.WithoutCancel(ctx), func() error {
		if isRemoved(held) {
			return nil // what is there now is somebody else's
		}
		return files.write(running)
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// untilRemoved waits for the end of ctx, which is no error, or of the file:
// who removes the directory of a cluster is done with it.
func untilRemoved(ctx context.Context, held *os.File) error {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		if isRemoved(held) {
			return fmt.Errorf("%s was removed", held.Name())
		}
	}
}

// isRemoved reports whether a file is no longer what its name stands for.
func isRemoved(f *os.File) bool {
	mine, err := f.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(f.Name())
	return errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(mine, there)
}

// URL returns the connection URL of a role, with a fresh token that is valid
// for a week. secret is what the cluster checks tokens with, if it does.
func (r *Running) URL(ctx context.Context, role, secret string) (string, error) {
	token, err := r.Token(ctx, role, secret, MaxTokenLife)
	if err != nil {
		return "", err
	}
	return connectionURL(role, token, r.Port, r.CAFile), nil
}

// ErrSecretNeeded says that tokens must be signed with a secret that is not at
// hand.
var ErrSecretNeeded = errors.New("this local DSQL checks the signatures of tokens, and the secret is not known here")

// Token makes a token for a role; see [Cluster.Token].
func (r *Running) Token(ctx context.Context, role, secret string, life time.Duration) (string, error) {
	if r.Signed && secret == "" {
		return "", ErrSecretNeeded
	}
	region := r.Region
	if region == "" {
		region = DefaultRegion
	}
	return newToken(ctx, "localhost", region, role, secret, life)
}

// Stop ends the process that serves the cluster, in good order, and waits for
// that until ctx ends: then its PostgreSQL has stopped too, unless others use
// it. It returns ErrNotRunning when it has ended already.
func (r *Running) Stop(ctx context.Context) error {
	// A handle on the process is taken first and the lock looked at again: if
	// it is still held, the handle is of its holder.
	p, err := os.FindProcess(r.PID)
	if err != nil {
		return fmt.Errorf("stop local DSQL: process %d: %w", r.PID, err)
	}
	defer p.Release() //nolint:errcheck // There is nothing to do about it.
	now, err := Lookup(ctx, r.dir, r.Name)
	if err != nil {
		return err
	}
	if now.PID != r.PID || !now.Started.Equal(r.Started) {
		return fmt.Errorf("stop local DSQL: process %d has taken over from %d", now.PID, r.PID)
	}
	if now.Stopping {
		err = nil // a second signal would end it at once
	} else {
		err = terminate(p)
	}
	if errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop local DSQL: process %d, which serves it, is not visible from here: is it in another container?", r.PID)
	} else if err != nil {
		return fmt.Errorf("stop local DSQL: process %d: %w", r.PID, err)
	}
	for {
		now, err := Lookup(ctx, r.dir, r.Name)
		if errors.Is(err, ErrNotRunning) || err == nil && now.PID != r.PID {
			return nil
		}
		if err != nil && ctx.Err() == nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("stop local DSQL: process %d has been asked to end and has not: %w", r.PID, context.Cause(ctx))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Connection is a cluster to connect to: one that runs for others, or one of
// this process.
type Connection struct {
	URL     string   // of the role admin
	Running *Running // nil when this process serves it
	server  *Server
}

// Connect returns a connection to a cluster of cfg.Dir. It uses the one that
// runs for others, so that all see the same conflicts and jobs; cfg.Secret must
// be its secret and the rest of cfg is not used then. Where nothing runs, this
// process serves the cluster until Close.
func Connect(ctx context.Context, cfg Config, name string) (*Connection, error) {
	running, err := Await(ctx, cfg.Dir, name)
	if err == nil {
		url, err := running.URL(ctx, adminRole, cfg.Secret)
		if err != nil {
			return nil, err
		}
		return &Connection{URL: url, Running: running}, nil
	}
	if !errors.Is(err, ErrNotRunning) {
		return nil, err
	}
	s, err := Open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	c, err := s.Cluster(ctx, name)
	if err != nil {
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopPatience)
		defer cancel()
		return nil, errors.Join(err, s.Close(stop))
	}
	return &Connection{URL: c.URL(), server: s}, nil
}

// Close ends what Connect started. Calling it again does nothing.
func (c *Connection) Close(ctx context.Context) error {
	if c.server == nil {
		return nil
	}
	return c.server.Close(ctx)
}
