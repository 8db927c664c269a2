//go:build !aurora_bundle

package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/aurora-migrate/aurora/localdsql"
)

type localUpOptions struct {
	local      *localOptions
	foreground bool
	port       int
	faults     string
	secret     secretOption
	day        string
	region     string
	ready      int // descriptor that is told how the start went
}

func (a *app) newLocalUpCommand(l *localOptions) *cobra.Command {
	o := localUpOptions{local: l}
	cmd := &cobra.Command{
		Use:   "up [flags]",
		Short: "Start the local DSQL",
		Long: fmt.Sprintf(`Start the local DSQL in the background, and wait until it accepts connections.

Its port is the one it had before, or else the first free one from %d. What goes
wrong on purpose is said by --faults, a list with commas between:

  KIND=N%%       each event of that kind goes wrong with that probability
  KIND@N        the N-th event of that kind goes wrong
  delay=D       every statement takes that much longer, as in 20ms
  job-delay=D   every job takes that much longer
  seed=N        another sequence of chances

where KIND is oc000 (a commit), oc001 (a statement), drop or drop-after (the
connection, at a statement), job-fail (a job), or busy, rate, waking or expired
(a login).`, localdsql.DefaultPort),
		Example: `  aurora local up
  aurora local up --foreground --faults oc000=20%,job-fail@1
  aurora local up --day 2026-08-01`,
		Args: noArgs,
		RunE: a.runs(func(cmd *cobra.Command, _ []string) error {
			return a.runLocalUp(cmd.Context(), o)
		}),
	}
	fs := cmd.Flags()
	fs.BoolVar(&o.foreground, "foreground", false, "stay in the foreground until interrupted")
	fs.IntVar(&o.port, "port", 0, "`port` to listen on")
	fs.StringVar(&o.faults, "faults", "", "what goes `wrong` on purpose")
	o.secret.addFlags(fs, "environment `variable` with a secret: tokens must be signed with it (default: any signature will do)")
	fs.StringVar(&o.day, "day", "", "keep the rules of that `date`, as in 2026-08-01 (default: the newest that are known)")
	fs.StringVar(&o.region, "region", "", "AWS `region` that tokens must be for (default: any)")
	fs.IntVar(&o.ready, "ready-fd", 0, "")
	must(fs.MarkHidden("ready-fd"))
	return cmd
}

// config returns what the flags say.
func (o localUpOptions) config(a *app) (localdsql.Config, error) {
	dir, err := o.local.dir()
	if err != nil {
		return localdsql.Config{}, err
	}
	cfg := localdsql.Config{Dir: dir, Region: o.region, Logger: a.log}
	if o.port < 0 || o.port > 65535 {
		return cfg, &usageError{Err: fmt.Errorf("there is no port %d", o.port)}
	}
	if o.port != 0 {
		cfg.Address = "127.0.0.1:" + strconv.Itoa(o.port)
	}
	if cfg.Faults, err = localdsql.ParseFaults(o.faults); err != nil {
		return cfg, &usageError{Err: err, Hint: "see: aurora local up --help"}
	}
	if o.day != "" {
		if cfg.Day, err = time.Parse(time.DateOnly, o.day); err != nil {
			return cfg, &usageError{Err: fmt.Errorf("%q is not a date such as 2026-08-01", o.day)}
		}
	}
	if cfg.Secret, err = o.secret.secret(a); err != nil {
		return cfg, err
	}
	if err := cfg.Check(); err != nil {
		return cfg, &usageError{Err: err}
	}
	return cfg, nil
}

func (a *app) runLocalUp(ctx context.Context, o localUpOptions) error {
	cfg, err := o.config(a)
	if err != nil {
		return err
	}
	if o.foreground {
		return a.serveLocal(ctx, o, cfg)
	}
	running, err := o.local.lookup(ctx, localdsql.Await)
	if err == nil {
		a.sayAlready(o, running)
		return nil
	}
	if !errors.Is(err, localdsql.ErrNotRunning) {
		return err
	}
	log, err := a.launchLocal(ctx, o, cfg.Dir)
	if err != nil {
		// Somebody else may have started one at the same time.
		if running, lookupErr := o.local.lookup(ctx, localdsql.Await); lookupErr == nil {
			a.sayAlready(o, running)
			return nil
		}
		return err
	}
	running, err = o.local.lookup(ctx, localdsql.Lookup)
	if err != nil {
		return err
	}
	a.sayRunning(*running)
	a.sayNext(o, log)
	return nil
}

func (a *app) sayAlready(o localUpOptions, running *localdsql.Running) {
	a.say("Local DSQL is already running on localhost:%d", running.Port)
	a.sayNext(o, "")
}

// sayNext says what a person needs next.
func (a *app) sayNext(o localUpOptions, log string) {
	secret := ""
	if o.secret.variable != "" {
		secret = " --secret-env " + o.secret.variable
	}
	a.say("")
	a.say("  connect     %s%s", o.local.command("psql"), secret)
	a.say("  its URL     %s%s", o.local.command("url"), secret)
	a.say("  stop        %s", o.local.command("down"))
	if log != "" {
		a.say("  its log     %s", log)
	}
}

// serveLocal serves in this process until ctx ends.
func (a *app) serveLocal(ctx context.Context, o localUpOptions, cfg localdsql.Config) error {
	tell := func(string) {}
	if o.ready > 2 {
		pipe := os.NewFile(uintptr(o.ready), "ready")
		keepFromChildren(pipe)
		tell = func(text string) {
			// A parent that is gone does not want to know.
			_, _ = io.WriteString(pipe, text)
			_ = pipe.Close()
		}
	}
	err := localdsql.Serve(ctx, cfg, o.local.name, func(r localdsql.Running) {
		a.sayRunning(r)
		if o.ready == 0 {
			a.say("")
			a.say("  connect     %s", o.local.command("psql"))
			a.say("  stop        Ctrl-C")
		}
		tell(launchReady)
	})
	if already := (*localdsql.RunningError)(nil); errors.As(err, &already) {
		err = withHint(err, "stop it first: "+o.local.command("down"))
	}
	if err != nil {
		tell(launchFailed + a.secrets.hide(err.Error()))
	}
	return err
}

// What the process in the background tells the one that started it.
const (
	launchReady  = "ready\n"
	launchFailed = "failed\n"
)

// launchLocal starts this program again in the background, waits until it
// serves, and returns its log file.
func (a *app) launchLocal(ctx context.Context, o localUpOptions, dir string) (string, error) {
	program, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("start local DSQL in the background: %w", err)
	}
	log, err := localdsql.OpenLog(dir, o.local.name)
	if err != nil {
		return "", err
	}
	defer log.Close() //nolint:errcheck // The child has its own.
	answer, pipe, err := os.Pipe()
	if err != nil {
		return "", fmt.Errorf("start local DSQL in the background: %w", err)
	}
	defer answer.Close() //nolint:errcheck // It was only read.
	// Not bound to ctx: it is to go on when this process has ended.
	cmd := exec.Command(program, o.arguments()...)
	cmd.Args[0] = os.Args[0]
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{pipe}
	detach(cmd)
	err = cmd.Start()
	err = errors.Join(err, pipe.Close())
	if err != nil {
		return "", fmt.Errorf("start local DSQL in the background: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Signal(os.Interrupt) })
	defer stop()
	// It ends when the process tells, and when it dies without.
	text, err := io.ReadAll(bufio.NewReader(answer))
	if string(text) == launchReady {
		return log.Name(), cmd.Process.Release()
	}
	_ = cmd.Wait() // it has failed anyway
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	if reason, ok := strings.CutPrefix(string(text), launchFailed); ok {
		return "", withHint(errors.New(reason), "more is in "+log.Name())
	}
	return "", withHint(errors.Join(errors.New("local DSQL ended while it started"), err), "look into "+log.Name())
}

// arguments are those of the process in the background.
func (o localUpOptions) arguments() []string {
	args := []string{"local", "up", "--foreground", "--ready-fd", "3", "--name", o.local.name}
	for _, f := range [][2]string{{"--config", o.local.config}, {"--faults", o.faults}, {"--secret-env", o.secret.variable}, {"--day", o.day}, {"--region", o.region}} {
		if f[1] != "" {
			args = append(args, f[0], f[1])
		}
	}
	if o.port != 0 {
		args = append(args, "--port", strconv.Itoa(o.port))
	}
	return args
}
