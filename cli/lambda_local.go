//go:build !aurora_bundle

package cli

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/aurora-migrate/aurora/locallambda"
)

func (a *app) newLambdaCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "lambda",
		Short: "Try a Lambda function on this machine",
		Args:  noArgs,
		RunE:  a.group,
	}
	cmd.AddCommand(a.newLambdaLocalCommand())
	return cmd
}

func (a *app) newLambdaLocalCommand() *cobra.Command {
	var o lambdaLocalOptions
	cmd := &cobra.Command{
		Use:   "local [flags] -- BINARY [ARGUMENTS]",
		Short: "Run a program as Lambda would",
		Long: `Run a program as AWS Lambda runs the bootstrap of a function, and offer the API
by which functions are invoked, on this machine only. A function that invokes
itself reaches this one. What goes wrong in Lambda now and then can be made to
go wrong more often.`,
		Example: `  aurora bundle --env prod --arch amd64 --out bootstrap
  aurora lambda local -- ./bootstrap
  aws lambda invoke --endpoint-url http://127.0.0.1:9001 --function-name function /dev/stdout
  aurora lambda local --timeout 5s --deliveries 2 --kill 20 --throttle 10 --retry-after 2s,4s -- ./bootstrap`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("which program? say it behind --")
			}
			return nil
		},
		RunE: a.runs(func(cmd *cobra.Command, args []string) error {
			return a.runLambdaLocal(cmd.Context(), o, args)
		}),
	}
	o.addFlags(cmd)
	return cmd
}

type lambdaLocalOptions struct {
	port           int
	name           string
	timeout        durationFlag
	concurrency    int
	deliveries     int
	kill, throttle int
	stopLoops      bool
	retryAfter     []time.Duration
}

func (o *lambdaLocalOptions) addFlags(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.SortFlags = false
	o.timeout.value = locallambda.DefaultTimeout
	fs.IntVar(&o.port, "port", 9001, "`port` to listen on; 0 takes a free one")
	fs.StringVar(&o.name, "name", "function", "the function's `name`")
	fs.Var(&o.timeout, "timeout", "how long an invocation may take")
	fs.IntVar(&o.concurrency, "concurrency", locallambda.DefaultConcurrency, "how many invocations may run at the same time")
	fs.DurationSliceVar(&o.retryAfter, "retry-after", []time.Duration{time.Minute, 2 * time.Minute}, "`delays` before an event that failed is delivered again")
	fs.IntVar(&o.deliveries, "deliveries", 1, "how often each event is delivered")
	fs.IntVar(&o.kill, "kill", 0, "how many `percent` of the invocations are killed")
	fs.IntVar(&o.throttle, "throttle", 0, "how many `percent` of the invokes are throttled")
	fs.BoolVar(&o.stopLoops, "stop-loops", false, "stop a function that invokes itself again and again, as Lambda does unless told not to")
}

// chance returns whether something that happens to so many percent happens.
func chance(percent int) bool { return rand.IntN(100) < percent }

func (a *app) runLambdaLocal(ctx context.Context, o lambdaLocalOptions, command []string) error {
	for flag, percent := range map[string]int{"--kill": o.kill, "--throttle": o.throttle} {
		if percent < 0 || percent > 100 {
			return &usageError{Err: fmt.Errorf("%s is %d: want 0 to 100 percent", flag, percent)}
		}
	}
	cfg := locallambda.Config{
		Command: command, Name: o.name, Timeout: o.timeout.value, Concurrency: o.concurrency, Deliveries: o.deliveries,
		Retries: o.retryAfter, StopLoops: o.stopLoops, Addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(o.port)), Output: a.err, Logger: a.log,
		Throttle: func() bool { return chance(o.throttle) },
		Kill: func(locallambda.Invocation) time.Duration {
			if !chance(o.kill) {
				return 0
			}
			return time.Millisecond + rand.N(o.timeout.value+1)
		},
	}
	s, err := locallambda.Start(cfg)
	if err != nil {
		return &usageError{Err: err}
	}
	a.say("%s", s.URL())
	a.say("invoke it: aws lambda invoke --endpoint-url %s --function-name %s --cli-binary-format raw-in-base64-out --payload '{}' /dev/stdout", s.URL(), o.name)
	a.say("without the AWS CLI: curl -d '{}' %s/2015-03-31/functions/%s/invocations", s.URL(), o.name)
	<-ctx.Done()
	return s.Close()
}
