//go:build !aurora_bundle

package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"

	"github.com/aurora-migrate/aurora/localdsql"
	"github.com/aurora-migrate/aurora/localdsql/engine"
)

// A localTarget is a database on this machine, as local://NAME?engine=… names
// it. Its data lie in .aurora beside the project file.
type localTarget struct {
	dir      string
	name     string
	postgres bool // plain PostgreSQL instead of DSQL
	secret   secretOption
}

func parseLocal(s settings) (localTarget, error) {
	u, err := url.Parse(s.url)
	if err != nil {
		return localTarget{}, &usageError{Err: fmt.Errorf("the database url: %w", errors.Unwrap(err))}
	}
	l := localTarget{name: u.Host}
	for name := range u.Query() {
		if name != "engine" && name != "secret-env" {
			return l, &usageError{Err: fmt.Errorf("local:// has no parameter %q", name), Hint: "there are engine, as in local://?engine=postgres, and secret-env"}
		}
	}
	l.secret.variable = u.Query().Get("secret-env")
	switch e := u.Query().Get("engine"); e {
	case "", "dsql":
		l.name = cmp.Or(l.name, localdsql.DefaultCluster)
		if err := localdsql.CheckName(l.name); err != nil {
			return l, &usageError{Err: fmt.Errorf("the database url: %w", err)}
		}
	case "postgres":
		if l.secret.variable != "" {
			return l, &usageError{Err: errors.New("secret-env means nothing to plain PostgreSQL, which checks no tokens"), Hint: "leave it out"}
		}
		l.name = cmp.Or(l.name, s.name, "aurora")
		l.postgres = true
	default:
		return l, &usageError{Err: fmt.Errorf("local:// has no engine %q", e), Hint: "leave it out for Aurora DSQL, or say engine=postgres"}
	}
	l.dir = "."
	if s.project != nil {
		l.dir = s.project.ConfigDir
	}
	l.dir = filepath.Join(l.dir, ".aurora")
	return l, nil
}

// startLocal starts the database of a local:// URL, unless it runs.
func startLocal(ctx context.Context, a *app, s settings) (localServer, error) {
	local, err := parseLocal(s)
	if err != nil {
		return localServer{}, err
	}
	return local.start(ctx, a)
}

func isLocalDSQL(s settings) bool {
	local, err := parseLocal(s)
	return err == nil && !local.postgres
}

func isDiskFull(err error) bool { return errors.Is(err, engine.ErrDiskFull) }

func (l localTarget) start(ctx context.Context, a *app) (localServer, error) {
	if !l.postgres {
		secret, err := l.secret.secret(a)
		if err != nil {
			return localServer{}, err
		}
		c, err := localdsql.Connect(ctx, localdsql.Config{Dir: l.dir, Logger: a.log, Secret: secret}, l.name)
		if errors.Is(err, localdsql.ErrSecretNeeded) {
			err = withHint(err, "say in the url which variable holds it: local://"+l.name+"?secret-env=VARIABLE")
		}
		if err != nil {
			return localServer{}, err
		}
		return localServer{c.URL, c.Close}, nil
	}
	server, err := engine.Start(ctx, engine.Config{Dir: l.dir, Logger: a.log})
	if err != nil {
		return localServer{}, err
	}
	if err := server.CreateDatabase(ctx, l.name); err != nil {
		stop, cancel := cleanup(ctx)
		defer cancel()
		return localServer{}, errors.Join(err, server.Stop(stop))
	}
	return localServer{server.URL(l.name), server.Stop}, nil
}
