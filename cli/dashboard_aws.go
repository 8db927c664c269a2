//go:build !aurora_bundle

package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/pflag"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/dashboard"
	"github.com/aurora-migrate/aurora/dynamo"
	"github.com/aurora-migrate/aurora/internal/account"
	"github.com/aurora-migrate/aurora/lambdahandler"
)

// awsOptions find the migrations of an AWS account: a function that runs them,
// and the table with their history.
type awsOptions struct {
	profile  string
	region   string
	function string
	table    string
	// protected is true also where nobody has said whose account it is.
	protected bool
}

func (o *awsOptions) addFlags(fs *pflag.FlagSet) {
	fs.StringVar(&o.profile, "profile", "", "AWS `profile` (default $AWS_PROFILE, or it is asked for)")
	fs.StringVar(&o.region, "region", "", "AWS `region`, where it is not the profile's")
	fs.StringVar(&o.function, "function-name", "", "`name` of the Lambda function that runs migrations (default: looked for)")
	fs.StringVar(&o.table, "table-name", "", "`name` of the DynamoDB table with the history (default: looked for)")
	fs.BoolVar(&o.protected, "protected", true, "in an account: rollbacks ask for a name and a reason")
}

func (o *awsOptions) isGiven() bool {
	return o.profile != "" || o.region != "" || o.function != "" || o.table != ""
}

// awsDashboard is the dashboard of what runs in an account: it reads the table
// with the rights of whoever started it, and has the function do the rest.
func (a *app) awsDashboard(ctx context.Context, o awsOptions, project string) (dashboard.Config, error) {
	var cfg dashboard.Config
	acct, err := a.openAccount(ctx, &o)
	if err != nil {
		return cfg, err
	}
	table, err := a.findResource(ctx, o.table, "DynamoDB table", "--table-name", acct.Tables)
	if err != nil {
		return cfg, err
	}
	if table.Name == "" {
		return cfg, &usageError{
			Err:  fmt.Errorf("no table in %s has the tag %s=%s, or %s in its name", acct.Region(), account.TagKey, account.TagTable, account.TableName),
			Hint: "name it with --table-name, or look in another --region",
		}
	}
	store, err := dynamo.Open(ctx, dynamo.Config{Table: table.Name, Project: project, Client: acct.DynamoDB(), Logger: a.log})
	if err != nil {
		return cfg, &usageError{Err: err}
	}
	// The function records itself as who ran it.
	asks := aurora.CurrentHolder("")
	cfg = dashboard.Config{
		User:  asks.User + "@" + asks.Host,
		Store: store, StoreKind: "dynamodb", Project: project, Env: o.profile, Version: buildVersion(),
		Target: fmt.Sprintf("table %s in %s", table.Name, acct.Region()), Protected: o.protected,
	}
	if a.inLambda() && o.function == "" {
		cfg.ReadOnly = "No function is named that runs migrations: set " + functionVariable + "."
		return cfg, nil
	}
	function, err := a.findResource(ctx, o.function, "Lambda function", "--function-name", acct.Functions)
	if err != nil {
		return cfg, err
	}
	if function.Name == "" {
		cfg.ReadOnly = fmt.Sprintf("No function in %s has the tag %s=%s, or %s in its name; --function-name names one.",
			acct.Region(), account.TagKey, account.TagFunction, account.FunctionName)
		return cfg, nil
	}
	cfg.Start, cfg.Runtime = lambdahandler.Invoker(acct.Lambda(), function.Name), "lambda"
	cfg.Target += ", function " + function.Name
	if acct.Understands(ctx, function) {
		files := &remoteFiles{ask: func(ctx context.Context) ([]aurora.Migration, error) {
			var out lambdahandler.ListResponse
			err := acct.Ask(ctx, function.Name, lambdahandler.Event{Command: lambdahandler.List}, &out)
			return migrationsOf(out), err
		}}
		cfg.Migrations = files.load
	}
	return cfg, nil
}

// migrationsOf makes migrations of what a function says of its own. They cannot
// run, and need not.
func migrationsOf(l lambdahandler.ListResponse) []aurora.Migration {
	out := make([]aurora.Migration, len(l.Migrations))
	for i, info := range l.Migrations {
		m := aurora.Migration{Version: info.Version, Name: info.Name, Description: info.Description, Irreversible: info.Irreversible, Source: info.Source, Checksum: info.Checksum}
		for n := range info.Steps {
			m.Up = append(m.Up, aurora.Func{Name: "step " + strconv.Itoa(n+1)})
		}
		for n := range info.Down {
			m.Down = append(m.Down, aurora.Func{Name: "step " + strconv.Itoa(n+1)})
		}
		out[i] = m
	}
	return out
}

// How long the answer of a function holds, and how long a failure does. A
// function's migrations change with a deploy only.
const (
	remoteLife  = 10 * time.Minute
	remoteRetry = time.Minute
)

// remoteFiles remembers what a function said.
type remoteFiles struct {
	ask func(context.Context) ([]aurora.Migration, error)

	mu    sync.Mutex
	at    time.Time
	known []aurora.Migration
	err   error
}

func (r *remoteFiles) load(ctx context.Context) ([]aurora.Migration, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	life := remoteLife
	if r.err != nil {
		life = remoteRetry
	}
	if !r.at.IsZero() && time.Since(r.at) < life {
		return r.known, r.err
	}
	// It may start cold, but who looks must not wait for long.
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	found, err := r.ask(ctx)
	r.at = time.Now()
	if err != nil && r.known != nil {
		// A function that is at work may be throttled; what it said still holds.
		return r.known, nil
	}
	r.known, r.err = found, err
	return found, err
}

// openAccount finds the profile and signs in, asking where that is needed.
func (a *app) openAccount(ctx context.Context, o *awsOptions) (*account.Account, error) {
	files := account.FindFiles(a.lookupEnv)
	fromEnv, _ := a.lookupEnv("AWS_PROFILE")
	o.profile = cmp.Or(o.profile, fromEnv)
	if _, hasKeys := a.lookupEnv("AWS_ACCESS_KEY_ID"); o.profile == "" && !hasKeys {
		names, err := files.Profiles()
		if err != nil {
			return nil, err
		}
		switch i, err := a.choose(ctx, "Which AWS profile?", names, "--profile"); {
		case err != nil:
			return nil, err
		case i >= 0:
			o.profile = names[i]
		}
	}
	acct, err := account.Open(ctx, account.Options{Files: files, Profile: o.profile, Region: o.region})
	if err == nil {
		err = acct.Check(ctx)
	}
	var login *account.LoginError
	if !errors.As(err, &login) {
		return acct, hinted(err)
	}
	if err := a.offerLogin(ctx, login); err != nil {
		return nil, err
	}
	acct, err = account.Open(ctx, account.Options{Files: files, Profile: o.profile, Region: o.region})
	if err == nil {
		err = acct.Check(ctx)
	}
	return acct, hinted(err)
}

// hinted makes advice out of an error that has some.
func hinted(err error) error {
	var advice interface{ Hint() string }
	if errors.As(err, &advice) {
		return &usageError{Err: err, Hint: advice.Hint()}
	}
	if err != nil {
		return &usageError{Err: err}
	}
	return nil
}

// offerLogin runs the command that signs in, after a yes.
func (a *app) offerLogin(ctx context.Context, login *account.LoginError) error {
	if _, ok := terminalFile(a.in); !ok {
		return hinted(login)
	}
	a.say("%s", a.secrets.hide(login.Error()))
	answer, err := a.ask(ctx, fmt.Sprintf("Run %q now? [y/N] ", strings.Join(login.Command, " ")))
	if err != nil {
		return err
	}
	if answer = strings.ToLower(answer); answer != "y" && answer != "yes" {
		return hinted(login)
	}
	err = login.Run(ctx, func(cmd *exec.Cmd) { cmd.Stdin, cmd.Stdout, cmd.Stderr = a.in, a.term.stdout, a.term.stderr })
	if err != nil {
		return &usageError{Err: err}
	}
	return nil
}

// findResource returns the one that was named, or the only one found, or the
// one that a person chooses; it has no name when there are none.
func (a *app) findResource(ctx context.Context, name, what, flag string, look func(context.Context) ([]account.Resource, error)) (account.Resource, error) {
	if name != "" {
		return account.Resource{Name: name}, nil
	}
	found, err := look(ctx)
	if err != nil {
		return account.Resource{}, &usageError{Err: err, Hint: "name it with " + flag + " where looking for it is not allowed"}
	}
	lines := make([]string, len(found))
	for i, f := range found {
		lines[i] = f.Name
		if f.About != "" {
			lines[i] += " (" + f.About + ")"
		}
	}
	i, err := a.choose(ctx, "Which "+what+"?", lines, flag)
	if err != nil || i < 0 {
		return account.Resource{}, err
	}
	if len(found) == 1 && !found[i].Tagged {
		a.say("%s %s, found by its name only; %s names another", what, found[i].Name, flag)
	}
	return found[i], nil
}

// choose lets a person choose by number. It does not ask when there is only
// one, and returns -1 when there are none.
func (a *app) choose(ctx context.Context, question string, lines []string, flag string) (int, error) {
	if len(lines) < 2 {
		return len(lines) - 1, nil
	}
	if _, ok := terminalFile(a.in); !ok {
		return 0, &usageError{
			Err:  fmt.Errorf("%s there are %d, and there is no terminal to ask: %s", question, len(lines), strings.Join(lines, ", ")),
			Hint: "name one with " + flag,
		}
	}
	a.say("%s", question)
	for i, line := range lines {
		a.say("  %2d  %s", i+1, line)
	}
	for range 3 {
		answer, err := a.ask(ctx, fmt.Sprintf("Number, 1 to %d: ", len(lines)))
		if err != nil {
			return 0, err
		}
		if n, err := strconv.Atoi(answer); err == nil && n >= 1 && n <= len(lines) {
			return n - 1, nil
		}
		for i, line := range lines {
			if name, _, _ := strings.Cut(line, " ("); answer == name {
				return i, nil
			}
		}
	}
	return 0, &usageError{Err: errors.New("none was chosen"), Hint: "name one with " + flag}
}
