package localdsql

import (
	"crypto/tls"
	"net"
	"time"

	"github.com/aurora-migrate/aurora/localdsql/internal/backend"
	"github.com/aurora-migrate/aurora/localdsql/internal/wire"
)

// startWire sets up what serves the cluster's connections and runs its jobs.
func (c *Cluster) startWire(tls *tls.Config) (err error) {
	cfg := &c.server.cfg
	c.proxy, err = wire.New(wire.Config{
		TLS: tls, Auth: c.login, Policy: c.server.policy, Logger: cfg.Logger,
		Limits: wire.Limits{
			Rows: int64(cfg.Limits.Rows), Bytes: cfg.Limits.Bytes,
			Age: cfg.Limits.Age, Connection: cfg.Limits.ConnectionAge,
		},
		Conflicts:  conflicts(cfg.Conflicts),
		Changed:    func() { c.worker.Wake() },
		SyntaxHint: syntaxHint(c.server.engine.Install()),
	})
	if err != nil {
		return err
	}
	c.worker = backend.StartWorker(c.ctx, backend.WorkerConfig{
		URL: c.server.engine.URL(c.database), Delay: c.jobDelay, Fail: c.jobFails,
		Done: func(job backend.Job) { c.proxy.Changed(job.Table) }, Logger: cfg.Logger,
	})
	return nil
}

// serve serves one client until it has gone.
func (c *Cluster) serve(conn net.Conn) {
	if err := c.proxy.Serve(c.ctx, conn); err != nil {
		c.server.cfg.Logger.DebugContext(c.ctx, "a connection to local DSQL ended", "err", err)
	}
}

func conflicts(c SchemaConflicts) wire.Conflicts {
	switch c {
	case ConflictsStrict:
		return wire.Strict
	case ConflictsOff:
		return wire.NoConflicts
	}
	return wire.Touching
}

// jobDelay returns how much longer a job is to take.
func (c *Cluster) jobDelay(backend.Job) time.Duration {
	_, delay := c.Faults().delays()
	return c.server.cfg.JobDelay + delay
}

// jobFails returns why a job is to fail, and nothing if it is not.
func (c *Cluster) jobFails(backend.Job) string {
	if c.Faults().hit(FaultJob) {
		return "a failure was asked for (" + string(FaultJob) + ")"
	}
	return ""
}
