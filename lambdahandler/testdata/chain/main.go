// Program chain is a Lambda function with one migration of many batches, which
// crashes where the tests want it to.
package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/aws/aws-lambda-go/lambdacontext"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/lambda"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/dynamo"
	"github.com/aurora-migrate/aurora/filestore"
	"github.com/aurora-migrate/aurora/lambdahandler"
)

func main() {
	cfg := lambdahandler.Config{
		Open: open, Margin: duration("MARGIN"), MaxHops: number("MAX_HOPS"), Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	}
	if os.Getenv("DIES") != "" {
		cfg.Continue = next
	}
	lambdahandler.Start(cfg)
}

func open(ctx context.Context) (*lambdahandler.Project, error) {
	r := aurora.Runner{TTL: duration("TTL"), Migrations: migrations(), Operator: "chain"}
	var err error
	if table := os.Getenv("TABLE"); table != "" {
		r.Store, err = dynamo.Open(ctx, dynamo.Config{Table: table})
	} else {
		r.Store, err = filestore.Open(filestore.Config{Path: os.Getenv("FILE")})
	}
	return &lambdahandler.Project{Runner: r}, err
}

func migrations() []aurora.Migration {
	return []aurora.Migration{{
		Version: "1", Name: "batches", Irreversible: "a test",
		Up: []aurora.Step{aurora.Func{Name: "batches", Do: batches}},
	}, {
		Version: "2", Name: "last", Irreversible: "a test",
		Up: []aurora.Step{aurora.Func{Name: "last", Do: func(context.Context, *aurora.Env) error { return attempt("last") }}},
	}}
}

// batches applies one batch after another. Each leaves a file that cannot be
// made twice, and a line for every attempt at it.
func batches(ctx context.Context, env *aurora.Env) error {
	if os.Getenv("DEAF") != "" {
		time.Sleep(time.Hour)
	}
	done := 0
	if _, err := env.Resume(&done); err != nil {
		return err
	}
	for n := number("BATCHES"); done < n; {
		if err := attempt(strconv.Itoa(done)); err != nil {
			return err
		}
		select {
		case <-time.After(duration("BATCH")):
		case <-ctx.Done():
			// The tests cannot know it otherwise.
			return errors.Join(ctx.Err(), attempt("late"))
		}
		if err := apply(done); err != nil {
			return err
		}
		done++
		if err := env.Checkpoint(ctx, done); err != nil {
			return err
		}
	}
	return nil
}

// attempt adds a line, in one write.
func attempt(what string) error {
	f, err := os.OpenFile(filepath.Join(os.Getenv("RESULTS"), "attempts"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "%s\n", what)
	return errors.Join(err, f.Close())
}

// apply does nothing when the batch has been applied already.
func apply(batch int) error {
	f, err := os.OpenFile(filepath.Join(os.Getenv("RESULTS"), fmt.Sprintf("batch-%d", batch)), os.O_EXCL|os.O_CREATE|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return f.Close()
}

// next invokes the function as it does by default, and may die before or after.
func next(ctx context.Context, e lambdahandler.Event) error {
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return err
	}
	if e.Hop%5 == 1 && once("before", e.Hop) {
		os.Exit(3)
	}
	lc, _ := lambdacontext.FromContext(ctx)
	if err := lambdahandler.Send(ctx, lambda.NewFromConfig(cfg), lc.InvokedFunctionArn, e); err != nil {
		return err
	}
	if e.Hop%5 == 3 && once("after", e.Hop) {
		os.Exit(3)
	}
	return nil
}

// once reports true the first time it is asked about a place.
func once(where string, hop int) bool {
	f, err := os.OpenFile(filepath.Join(os.Getenv("RESULTS"), fmt.Sprintf("died-%s-%d", where, hop)), os.O_EXCL|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return false
	}
	return f.Close() == nil
}

func duration(name string) time.Duration {
	d, _ := time.ParseDuration(os.Getenv(name))
	return d
}

func number(name string) int {
	n, _ := strconv.Atoi(os.Getenv(name))
	return n
}
