package localdsql

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/aurora-migrate/aurora/localdsql/internal/policy"
	"github.com/aurora-migrate/aurora/localdsql/internal/wire"
)

// databaseName is the only database a cluster has.
const databaseName = "postgres"

// faultsParameter is the startup option that gives one connection faults of
// its own.
const faultsParameter = "aurora.faults"

// What a login can be told. The texts of the first three are in the Aurora DSQL
// user guide, "Troubleshooting"; of the next two in "Cluster quotas". SQLSTATEs
// the guide does not have are those of PostgreSQL for the like.
var (
	accessDenied       = policy.Refusal{Code: "28000", Message: "unable to accept connection, access denied"}
	noServerName       = policy.Refusal{Code: "28000", Message: "unable to accept connection, sni was not received"}
	wakingUp           = policy.Refusal{Code: "57P03", Message: "unable to accept connection, waking up cluster, please retry later"}
	tooManyConnections = policy.Refusal{Code: "53300", Message: "unable to accept connection, too many open connections"}
	tooFast            = policy.Refusal{Code: "53400", Message: "unable to accept connection, rate exceeded"}
)

func notMapped(user string) *policy.Refusal {
	return &policy.Refusal{Code: "28000", Message: fmt.Sprintf("IAM authentication failed for user \"%s\"", user)}
}

func denied(reason string) *policy.Refusal {
	r := accessDenied
	r.Hint = reason
	return &r
}

// login decides about a client, and says where to connect for it.
func (c *Cluster) login(ctx context.Context, l wire.Login) (wire.Backend, *policy.Refusal) {
	if l.ServerName == "" {
		r := noServerName
		r.Hint = "Connect to a host name such as localhost, not to an IP address, with a client that names it in the TLS handshake (libpq 14 or later)."
		return wire.Backend{}, &r
	}
	faults := hooks{c.server.cfg.Faults}
	if spec := l.Parameters[faultsParameter]; spec != "" {
		own, err := ParseFaults(spec)
		if err == nil {
			err = own.checkConnection()
		}
		if err != nil {
			return wire.Backend{}, &policy.Refusal{Code: "22023", Message: err.Error()}
		}
		faults = append(faults, own)
	}
	if r := faults.login(); r != nil {
		return wire.Backend{}, r
	}
	if r := c.checkToken(ctx, l); r != nil {
		return wire.Backend{}, r
	}
	if l.Database != databaseName {
		return wire.Backend{}, &policy.Refusal{Code: "3D000", Message: fmt.Sprintf("database \"%s\" does not exist", l.Database), Hint: "A cluster has one database: postgres."}
	}
	config, err := pgconn.ParseConfig(c.server.engine.URL(c.database))
	if err == nil && l.User != adminRole {
		var mapped bool
		if mapped, err = isMapped(ctx, config, l.User); err == nil && !mapped {
			return wire.Backend{}, notMapped(l.User)
		}
	}
	if err != nil {
		c.server.cfg.Logger.WarnContext(ctx, "local DSQL cannot ask PostgreSQL about a role", "err", err)
		r := wakingUp
		return wire.Backend{}, &r
	}
	config.User = l.User
	return wire.Backend{Config: config, Hooks: faults}, nil
}

// checkToken checks the password.
func (c *Cluster) checkToken(ctx context.Context, l wire.Login) *policy.Refusal {
	token, err := parseToken(l.Password)
	if err == nil {
		cfg := &c.server.cfg
		err = token.check(ctx, tokenRules{now: time.Now(), user: l.User, host: c.answersTo, region: cfg.Region, secret: cfg.Secret})
	}
	if refused := (*tokenError)(nil); errors.As(err, &refused) {
		return denied(refused.reason)
	}
	if err != nil {
		return denied(err.Error())
	}
	return nil
}

// answersTo reports whether a host of a token is this cluster.
func (c *Cluster) answersTo(host string) bool { return isHostName(c.names, host) }

// isMapped reports whether a role may log in: it has been granted to somebody
// by AWS IAM GRANT, and is not one of PostgreSQL's own.
func isMapped(ctx context.Context, config *pgconn.Config, role string) (_ bool, err error) {
	config = config.Copy()
	config.RuntimeParams["search_path"] = "pg_catalog, pg_temp" // nothing of users, who the superuser would run it for
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, conn.Close(ctx)) }()
	const query = `SELECT FROM pg_catalog.pg_roles r JOIN sys.iam_pg_role_mappings m ON m.pg_role_name::text = r.rolname
WHERE r.rolname = $1 AND r.rolcanlogin AND NOT r.rolsuper LIMIT 1`
	result := conn.ExecParams(ctx, query, [][]byte{[]byte(role)}, nil, nil, nil).Read()
	return len(result.Rows) > 0, result.Err
}

// hooks are the faults of a cluster and of a connection to it, each of which
// counts everything.
type hooks []*Faults

func (h hooks) hit(kind FaultKind) bool {
	any := false
	for _, f := range h {
		any = f.hit(kind) || any
	}
	return any
}

// login says how a login is to fail, if it is.
func (h hooks) login() *policy.Refusal {
	expiredToken, waking, busy, fast := h.hit(FaultExpired), h.hit(FaultWaking), h.hit(FaultBusy), h.hit(FaultRate)
	switch {
	case busy:
		return &tooManyConnections
	case fast:
		return &tooFast
	case waking:
		return &wakingUp
	case expiredToken:
		const life = 15 * time.Minute
		now := time.Now()
		return denied(expired(now.Add(-life-time.Second), now, life).Error())
	}
	return nil
}

// Commit implements wire.Hooks.
func (h hooks) Commit() *policy.Refusal {
	if h.hit(FaultConflict) {
		return &policy.DataConflict
	}
	return nil
}

// Statement implements wire.Hooks.
func (h hooks) Statement(string) wire.Fault {
	var fault wire.Fault
	if h.hit(FaultSchema) {
		fault.Refusal = &policy.SchemaConflict
	}
	fault.DropBefore, fault.DropAfter = h.hit(FaultDrop), h.hit(FaultDropAfter)
	for _, f := range h {
		delay, _ := f.delays()
		fault.Delay += delay
	}
	return fault
}
