package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/internal/config"
	"github.com/aurora-migrate/aurora/lambdahandler"
)

// The variables of a Lambda function that are read here, beside AURORA_ENV.
const (
	marginVariable   = "AURORA_LAMBDA_MARGIN"   // a duration
	maxHopsVariable  = "AURORA_LAMBDA_MAX_HOPS" // a number
	logLevelVariable = "AWS_LAMBDA_LOG_LEVEL"   // which Lambda's logging settings make
)

// runLambda handles the events of the AWS Lambda function that this process was
// started for. It returns only when that cannot begin.
func (a *app) runLambda(context.Context) int {
	cfg, err := a.lambdaConfig()
	if err != nil {
		a.printError(context.Background(), err)
		return ExitUsage
	}
	lambdahandler.Start(cfg)
	return ExitDone
}

func (a *app) lambdaConfig() (lambdahandler.Config, error) {
	cfg := lambdahandler.Config{Open: a.openLambda, ErrorText: a.lambdaErrorText}
	if err := a.setLogger(logOptions{level: a.lambdaLogLevel(), format: "json"}); err != nil {
		return cfg, &usageError{Err: err}
	}
	cfg.Logger = a.log
	if raw, ok := a.lookupEnv(marginVariable); ok && raw != "" {
		d, err := time.ParseDuration(raw)
		if err != nil || d <= 0 {
			return cfg, &usageError{Err: fmt.Errorf("%s is %q: want a duration such as 30s", marginVariable, raw)}
		}
		cfg.Margin = d
	}
	if raw, ok := a.lookupEnv(maxHopsVariable); ok && raw != "" {
		n, err := strconv.Atoi(raw)
		if err != nil || n < 1 {
			return cfg, &usageError{Err: fmt.Errorf("%s is %q: want a number from 1 on", maxHopsVariable, raw)}
		}
		cfg.MaxHops = n
	}
	return cfg, nil
}

// lambdaLogLevel returns the function's log level as slog spells it.
func (a *app) lambdaLogLevel() string {
	raw, _ := a.lookupEnv(logLevelVariable)
	switch level := strings.ToLower(raw); level {
	case "trace":
		return slog.LevelDebug.String()
	case "fatal":
		return slog.LevelError.String()
	default:
		return cmp.Or(level, "info")
	}
}

// openLambda makes the project ready, in the way in which apply does.
func (a *app) openLambda(ctx context.Context) (*lambdahandler.Project, error) {
	s, err := a.lambdaSettings(ctx)
	if err != nil {
		return nil, err
	}
	req, err := (&applyOptions{}).request(s, nil)
	if err != nil {
		return nil, err
	}
	migrations, err := a.load(ctx, s)
	if err != nil {
		return nil, err
	}
	if s.env != nil {
		// A profile is for the machines of people; here the role counts.
		s.env.AWS.Profile = config.Setting[string]{}
	}
	t, err := a.open(ctx, a, s)
	if err != nil {
		return nil, err
	}
	var timeout time.Duration // the handler knows better than the default
	if s.env != nil && s.env.Migration.LockTimeout.Set {
		timeout = runOptions{}.timeout(s.env)
	}
	runner := a.runner(t, migrations, timeout, nil)
	check := func(ctx context.Context, req aurora.Request) error {
		if err := checkMoved(ctx, t, req); err != nil {
			return err
		}
		return a.refusedAhead(ctx, t, runner, req)
	}
	return &lambdahandler.Project{
		Runner: *runner, Defaults: req, Check: check, Close: t.close,
		Confirm: s.confirmName(), Protected: s.env != nil && s.env.Protected.Value,
	}, nil
}

// lambdaSettings are those of the environment that the program or AURORA_ENV
// names, and otherwise of the only one.
func (a *app) lambdaSettings(ctx context.Context) (settings, error) {
	raw, _ := a.lookupEnv(envVariable)
	p := projectOptions{env: cmp.Or(raw, a.program.Env)}
	if p.env == "" {
		files, path := a.projectFiles(p)
		project, err := config.Load(ctx, config.Options{Files: files, Path: path, Offline: true, Logger: a.log, Stderr: a.err, LookupEnv: a.lookupEnv})
		if err != nil {
			return settings{}, &usageError{Err: err}
		}
		if len(project.EnvNames) != 1 {
			return settings{}, &usageError{Err: errNoEnv, Hint: "set the variable " + envVariable + " to one of: " + strings.Join(project.EnvNames, ", ")}
		}
		p.env = project.EnvNames[0]
	}
	return one(a.settings(ctx, p, directoryOptions{}, &databaseOptions{}))
}

// lambdaErrorText is an error as the function's caller gets it: without
// secrets, and with what to do about it.
func (a *app) lambdaErrorText(err error) string {
	text := a.errorText(err)
	var step *aurora.StepError
	if hint := hintOf(err); hint != "" {
		text += "\nhint: " + hint
	} else if errors.As(err, &step) && step.Hint != "" {
		text += "\nhint: " + step.Hint
	}
	return a.secrets.hide(text)
}
