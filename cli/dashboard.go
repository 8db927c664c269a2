//go:build !aurora_bundle

package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/dashboard"
	"github.com/aurora-migrate/aurora/internal/config"
)

func (a *app) newDashboardCommand() *cobra.Command {
	var o dashboardOptions
	cmd := &cobra.Command{
		Use:   "dashboard [flags]",
		Short: "Look at migrations in the browser, and roll back",
		Long: `Serve pages on this machine that show every migration, what happened when it
ran, and what runs now.

With --env, --url or --history, up and rollback run in this process. Without
them it looks into an AWS account, with the rights of a profile: it reads the
table of the history, and a Lambda function runs what is asked for. Both are
found by their tags, or by MigrationsTable and MigrationFn in their names.

The address that is printed works in one browser, once. Nothing is reachable
from other machines, unless --listen says so; that needs a token in the variable
AURORA_DASHBOARD_TOKEN, or --jwt-issuer.`,
		Example: `  aurora dashboard --env local
  aurora dashboard --env prod --read-only --port 0
  aurora dashboard --profile shop-prod`,
		Args: noArgs,
		RunE: a.runs(func(cmd *cobra.Command, _ []string) error {
			return a.runDashboard(cmd.Context(), o)
		}),
	}
	o.addFlags(cmd)
	must(cmd.RegisterFlagCompletionFunc("env", a.completeEnv(&o.project)))
	return cmd
}

type dashboardOptions struct {
	project   projectOptions
	directory directoryOptions
	database  databaseOptions
	listen    listenOptions
	aws       awsOptions
	noOpen    bool
	readOnly  bool
}

func (o *dashboardOptions) addFlags(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.SortFlags = false
	o.project.addFlags(fs)
	o.database.addFlags(fs)
	o.directory.addFlags(fs)
	o.aws.addFlags(fs)
	o.listen.addFlags(fs)
	fs.BoolVar(&o.noOpen, "no-open", false, "do not open the browser")
	fs.BoolVar(&o.readOnly, "read-only", false, "only show; nothing can be started")
}

func (a *app) runDashboard(ctx context.Context, o dashboardOptions) error {
	inAccount := o.project.env == "" && o.project.config == "" && a.program.Env == "" && !o.database.isGiven()
	if o.aws.isGiven() && !inAccount {
		return &usageError{Err: errors.New("--profile, --region, --function-name and --table-name look into an AWS account, and exclude --env, --url and --history")}
	}
	if !inAccount && a.inLambda() {
		return &usageError{Err: errors.New("a dashboard in a Lambda function shows a table: leave out --env, --url and --history, and set " + tableVariable)}
	}
	if !inAccount {
		return a.runEnvDashboard(ctx, o)
	}
	if err := o.aws.addVariables(a.lookupEnv); err != nil {
		return err
	}
	cfg, err := a.awsDashboard(ctx, o.aws, o.database.project)
	if err != nil {
		return err
	}
	if o.readOnly {
		cfg.ReadOnly = startedReadOnly
	}
	if a.inLambda() {
		return a.serveLambda(cfg, o.listen)
	}
	return a.serveDashboard(ctx, cfg, o.listen, !o.noOpen)
}

const startedReadOnly = "It was started with --read-only."

// runEnvDashboard is the dashboard of an environment, whose runs are in this
// process.
func (a *app) runEnvDashboard(ctx context.Context, o dashboardOptions) error {
	s, err := one(a.settings(ctx, o.project, o.directory, &o.database))
	if err != nil {
		return err
	}
	// A directory with Go migrations needs a program that has them, which takes
	// over here.
	if _, err := a.load(ctx, s); err != nil {
		return err
	}
	t, err := a.open(ctx, a, s)
	if err != nil {
		return err
	}
	defer a.closeTarget(ctx, t)
	local := &dashboard.Local{Open: func(ctx context.Context, req aurora.Request) (*aurora.Runner, func(context.Context) error, error) {
		return a.openRunner(ctx, s, req)
	}}
	defer func() {
		clean, cancel := cleanup(ctx)
		defer cancel()
		if err := local.Close(clean); err != nil {
			a.log.Warn("the run did not stop in time; its lock ends by itself", "err", err)
		}
	}()
	cfg := dashboard.Config{
		Store: t.store, Local: local,
		Migrations: func(context.Context) ([]aurora.Migration, error) { return a.loadFiles(s) },
		Project:    s.name, Target: describeTarget(s, t), StoreKind: t.kind, Version: buildVersion(),
	}
	cfg.Reviewer, _ = t.database.(aurora.Reviewer)
	if s.env != nil {
		cfg.Env, cfg.Protected = s.env.Name, s.env.Protected.Value
	}
	if cfg.Defaults, err = (&applyOptions{}).request(s, nil); err != nil {
		return err
	}
	if o.readOnly {
		cfg.Local, cfg.ReadOnly = nil, startedReadOnly
	}
	return a.serveDashboard(ctx, cfg, o.listen, !o.noOpen)
}

// dashboardLockTimeout is short: whoever clicks would rather hear that somebody
// else is at work.
const dashboardLockTimeout = 30 * time.Second

// openRunner opens what one run needs: connections of its own, and the files
// as they are now.
func (a *app) openRunner(ctx context.Context, s settings, req aurora.Request) (*aurora.Runner, func(context.Context) error, error) {
	migrations, err := a.loadFiles(s)
	if err != nil {
		return nil, nil, err
	}
	t, err := a.open(ctx, a, s)
	if err != nil {
		return nil, nil, err
	}
	runner := a.runner(t, migrations, dashboardLockTimeout, nil)
	runner.Holder = aurora.CurrentHolder("dashboard")
	if err = checkMoved(ctx, t, req); err == nil {
		err = a.refusedAhead(ctx, t, runner, req)
	}
	if err != nil {
		a.closeTarget(ctx, t)
		return nil, nil, err
	}
	return runner, t.close, nil
}

// describeTarget names for people what is migrated.
func describeTarget(s settings, t *target) string {
	switch {
	case s.url != "" && t.place != "":
		return config.Redact(s.url) + ", history in " + t.place
	case t.place != "":
		return t.place
	}
	return config.Redact(s.url)
}

// serveDashboard serves until the context ends.
func (a *app) serveDashboard(ctx context.Context, cfg dashboard.Config, o listenOptions, open bool) error {
	auth, err := a.dashboardAuth(o)
	if err != nil {
		return err
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", net.JoinHostPort(o.address, strconv.Itoa(o.port)))
	if err != nil {
		return &usageError{Err: fmt.Errorf("listen for the browser: %w", err), Hint: "another program may have the port; --port 0 takes a free one"}
	}
	base := baseURL(listener.Addr())
	cfg.Auth, cfg.Hosts = auth, append(loopbackHosts(listener.Addr()), o.hosts...)
	if auth.Once == "" {
		cfg.User = tokenHolder
	}
	cfg.Logger, cfg.Hide = a.log, a.secrets.hide
	handler, err := dashboard.New(cfg)
	if err != nil {
		return errors.Join(&usageError{Err: err}, listener.Close())
	}
	server := &http.Server{
		Handler: handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: quietLog(a.log),
		// Streams of events end with it.
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	forget := a.announce(base, auth.Once, cfg, open)
	defer forget()
	select {
	case err := <-served:
		return fmt.Errorf("serve the dashboard: %w", err)
	case <-ctx.Done():
	}
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
	defer cancel()
	if err := server.Shutdown(clean); err != nil {
		return errors.Join(err, server.Close())
	}
	return nil
}
