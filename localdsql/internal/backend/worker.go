package backend

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	// channel is where the database announces jobs and what may end them.
	channel = "aurora_jobs"
	// lookEvery is how often a worker looks for jobs unasked: those whose
	// worker has died.
	lookEvery = time.Second
	// retryEvery is the pause after an error, or a lock that was not to be had.
	retryEvery = 50 * time.Millisecond
	// lockTimeout is how long a job waits for a lock before it makes way for
	// clients, which may be waiting behind it.
	lockTimeout = 50 * time.Millisecond
	// workers is how many jobs of a database are worked on at once; those that
	// are only delayed do not count.
	workers = 4
	// jobLocks is the first half of the advisory locks of jobs; the second is
	// the job's number.
	jobLocks = 0x6a6f6273
)

// Job is an asynchronous job, as sys.jobs shows it.
type Job struct {
	ID   string
	Type string // INDEX_BUILD or VALIDATE_CONSTRAINT
	// Name is the name of the index, with its schema, or of the constraint, as
	// it was when the job was submitted.
	Name   string
	Table  string // the table's name, without schema, when a worker took the job up; "" if it was gone
	Unique bool   // a unique index
	Status string // completed or failed, when the job has ended

	seq int64
}

// WorkerConfig says which database's jobs a worker runs, and how. Its functions
// are called from several goroutines; nil ones are not.
type WorkerConfig struct {
	// URL names the database, as a superuser.
	URL string
	// Delay is how long a job is kept in flight, after a worker took it up and
	// before it is worked on. Indexes and constraints are there meanwhile, and
	// not valid. Nothing is locked. A job that another worker takes over is
	// delayed anew.
	Delay func(Job) time.Duration
	// Fail returns the details a job must fail with, or "". What it would have
	// made valid stays there, not valid.
	Fail func(Job) string
	// Done is told of every job this worker has ended, right after.
	Done func(Job)
	// Logger is told what a worker got over: connections lost, locks not had.
	Logger *slog.Logger
}

// Worker runs the jobs of a database, several at once. It takes up those that
// others have left, and several workers, of any number of processes, share the
// work: the table behind sys.jobs says what there is to do, and a worker has
// each of its jobs locked as long as it lives.
type Worker struct {
	cfg    WorkerConfig
	cancel context.CancelFunc
	done   chan struct{}
	wake   chan struct{}
	slots  chan struct{}
}

// StartWorker starts a worker and returns at once. It connects when it can and
// works until Stop is called or ctx ends.
func StartWorker(ctx context.Context, cfg WorkerConfig) *Worker {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	ctx, cancel := context.WithCancel(ctx)
	w := &Worker{
		cfg: cfg, cancel: cancel, done: make(chan struct{}), wake: make(chan struct{}, 1),
		slots: make(chan struct{}, workers),
	}
	go w.run(ctx)
	return w
}

// Wake makes the worker look for jobs now. It hears of new ones by itself; this
// is only faster.
func (w *Worker) Wake() {
	select {
	case w.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// Stop makes the worker leave its jobs to others and waits until it has, or
// ctx ends. Jobs that were not finished stay as they are: "processing".
func (w *Worker) Stop(ctx context.Context) error {
	w.cancel()
	select {
	case <-w.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("stop the worker: %w", context.Cause(ctx))
	}
}

// run works until ctx ends, over lost connections.
func (w *Worker) run(ctx context.Context) {
	defer close(w.done)
	wait := retryEvery
	for {
		began := time.Now()
		err := w.serve(ctx)
		if ctx.Err() != nil {
			return
		}
		w.cfg.Logger.WarnContext(ctx, "the worker of local DSQL's jobs connects again", "error", err)
		if wait = min(2*wait, lookEvery); time.Since(began) > lookEvery {
			wait = retryEvery
		}
		pause(ctx, wait)
	}
}

// shift is a worker's work over one connection, which holds the locks of its
// jobs: when it breaks, the jobs are everybody's again.
type shift struct {
	*Worker
	conn  *pgx.Conn
	tasks map[int64]*task // by number
	group sync.WaitGroup

	mu    sync.Mutex
	ended []int64 // numbers of tasks that have ended
}

// task is a job that this worker runs.
type task struct {
	job  Job
	gone chan struct{} // closed when nothing is left to do

	skipped bool // gone is closed; only for look
}

// serve works as long as its connection lasts.
func (w *Worker) serve(ctx context.Context) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	conn, err := connect(ctx, w.cfg.URL)
	if err != nil {
		return err
	}
	s := &shift{Worker: w, conn: conn, tasks: map[int64]*task{}}
	defer func() {
		cancel()
		s.group.Wait()
		err = errors.Join(err, conn.Close(context.WithoutCancel(ctx)))
	}()
	if _, err := conn.Exec(ctx, "LISTEN "+channel); err != nil {
		return err
	}
	for {
		if err := s.giveBack(ctx); err != nil {
			return err
		}
		if err := s.look(ctx); err != nil {
			return err
		}
		if err := s.await(ctx); err != nil {
			return err
		}
	}
}

// giveBack unlocks the jobs that have ended.
func (s *shift) giveBack(ctx context.Context) error {
	s.mu.Lock()
	ended := s.ended
	s.ended = nil
	s.mu.Unlock()
	for _, seq := range ended {
		delete(s.tasks, seq)
		if err := s.unlock(ctx, seq); err != nil {
			return err
		}
	}
	return nil
}

func (s *shift) unlock(ctx context.Context, seq int64) error {
	if _, err := s.conn.Exec(ctx, "SELECT _pg_advisory_unlock($1, $2)", jobLocks, int32(seq)); err != nil {
		return fmt.Errorf("give back a job: %w", err)
	}
	return nil
}

// look starts what there is to do and ends the delays of what is gone.
func (s *shift) look(ctx context.Context) error {
	rows, err := s.conn.Query(ctx, "SELECT seq, job_id, job_type, name, table_name, is_unique, gone FROM sys._open_jobs()")
	if err != nil {
		return err
	}
	type open struct {
		Job
		gone bool
	}
	jobs, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (o open, err error) {
		return o, row.Scan(&o.seq, &o.ID, &o.Type, &o.Name, &o.Table, &o.Unique, &o.gone)
	})
	if err != nil {
		return fmt.Errorf("look for jobs: %w", err)
	}
	for _, o := range jobs {
		t, mine := s.tasks[o.seq]
		if !mine {
			if mine, err = s.claim(ctx, o.seq); err != nil {
				return fmt.Errorf("take up job %s: %w", o.ID, err)
			}
			if !mine {
				continue
			}
			t = &task{job: o.Job, gone: make(chan struct{})}
			s.tasks[o.seq] = t
			s.group.Go(func() { s.work(ctx, t) })
		}
		if o.gone && !t.skipped {
			t.skipped = true
			close(t.gone)
		}
	}
	return nil
}

// claim locks a job and says whether it was free and there is still something
// to do.
func (s *shift) claim(ctx context.Context, seq int64) (mine bool, err error) {
	if err := s.conn.QueryRow(ctx, "SELECT _pg_try_advisory_lock($1, $2)", jobLocks, int32(seq)).Scan(&mine); err != nil || !mine {
		return false, err
	}
	if err := s.conn.QueryRow(ctx, "SELECT sys._begin_job($1)", seq).Scan(&mine); err != nil {
		return false, err
	}
	if !mine { // another worker has finished it since we looked
		return false, s.unlock(ctx, seq)
	}
	return true, nil
}

// await returns when there may be something to do.
func (s *shift) await(ctx context.Context) error {
	wait, cancel := context.WithTimeout(ctx, lookEvery)
	defer cancel()
	over := make(chan struct{})
	go func() {
		defer close(over)
		select {
		case <-s.wake:
			cancel()
		case <-wait.Done():
		}
	}()
	_, err := s.conn.WaitForNotification(wait)
	cancel()
	<-over
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil && (s.conn.IsClosed() || wait.Err() == nil) {
		return fmt.Errorf("listen for jobs: %w", err)
	}
	return nil
}

// work runs a job to its end.
func (s *shift) work(ctx context.Context, t *task) {
	s.delay(ctx, t)
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-ctx.Done():
		return
	}
	failure := ""
	if s.cfg.Fail != nil {
		failure = s.cfg.Fail(t.job)
	}
	for tries := 1; ctx.Err() == nil; tries++ {
		status, err := s.finish(ctx, t.job, failure)
		if err == nil {
			s.end(t, status)
			return
		}
		var pg *pgconn.PgError
		if errors.As(err, &pg) && !retriable(pg.Code, tries) {
			failure = pg.Message
		}
		if ctx.Err() == nil {
			s.cfg.Logger.DebugContext(ctx, "a job of local DSQL is tried again", "job", t.job.ID, "error", err)
			pause(ctx, retryEvery)
		}
	}
}

// end tells everybody that a job has ended.
func (s *shift) end(t *task, status string) {
	t.job.Status = status
	if s.cfg.Done != nil && status != "" {
		s.cfg.Done(t.job)
	}
	s.mu.Lock()
	s.ended = append(s.ended, t.job.seq)
	s.mu.Unlock()
	s.Wake()
}

// delay keeps a job in flight, unless nothing is left to do for it.
func (w *Worker) delay(ctx context.Context, t *task) {
	if w.cfg.Delay == nil {
		return
	}
	timer := time.NewTimer(w.cfg.Delay(t.job))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.gone:
	case <-ctx.Done():
	}
}

// finish does the work and returns the job's status, "" if there is no such
// job any more.
func (w *Worker) finish(ctx context.Context, job Job, failure string) (status string, err error) {
	conn, err := connect(ctx, w.cfg.URL)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	err = conn.QueryRow(ctx, "SELECT coalesce(sys._finish_job($1, nullif($2, '')), '')", job.seq, failure).Scan(&status)
	return status, err
}

// maxTries bounds how often work is done again for errors that may also be a
// defect.
const maxTries = 100

// retriable says whether work that failed may succeed when it is done again:
// somebody had a lock, or dropped or changed what it is about. Everything else
// is what the job fails with.
func retriable(sqlstate string, tries int) bool {
	switch sqlstate {
	case lockNotAvailable, deadlockDetected:
		return true
	case undefinedTable, internalError:
		return tries < maxTries
	}
	switch sqlstate[:2] {
	case "08", "53", "57": // connections, resources, the server is shutting down
		return true
	}
	return false
}

// connect connects as what does the jobs' work: read committed, with events
// not triggered, and never long in anybody's way.
func connect(ctx context.Context, url string) (*pgx.Conn, error) {
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("parse the database's url: %w", err)
	}
	cfg.RuntimeParams["application_name"] = "aurora jobs"
	cfg.RuntimeParams["session_replication_role"] = "replica"
	cfg.RuntimeParams["search_path"] = trustedPath
	cfg.RuntimeParams["lock_timeout"] = fmt.Sprint(lockTimeout.Milliseconds())
	return pgx.ConnectConfig(ctx, cfg)
}

// pause waits, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
