//go:build !aurora_bundle

package cli

import (
	"errors"
	"net/http"
	"strconv"

	"github.com/aws/aws-lambda-go/lambda"

	"github.com/aurora-migrate/aurora/dashboard"
	"github.com/aurora-migrate/aurora/lambdahandler"
)

// The variables that say what a dashboard in a Lambda function shows and
// starts, where no flag does. The last is the name that other tools set.
const (
	tableVariable         = "AURORA_TABLE"
	functionVariable      = "AURORA_FUNCTION_NAME"
	otherFunctionVariable = "MIGRATION_FUNCTION_NAME"
	protectedVariable     = "AURORA_PROTECTED"
)

// inLambda reports whether this process is a Lambda function.
func (a *app) inLambda() bool {
	api, _ := a.lookupEnv("AWS_LAMBDA_RUNTIME_API")
	return api != ""
}

// addVariables fills in what flags leave open.
func (o *awsOptions) addVariables(lookupEnv func(string) (string, bool)) error {
	for _, v := range []struct {
		name string
		to   *string
	}{{tableVariable, &o.table}, {functionVariable, &o.function}, {otherFunctionVariable, &o.function}} {
		if value, _ := lookupEnv(v.name); *v.to == "" {
			*v.to = value
		}
	}
	if value, _ := lookupEnv(protectedVariable); value != "" {
		protected, err := strconv.ParseBool(value)
		if err != nil {
			return &usageError{Err: errors.New(protectedVariable + " is neither true nor false")}
		}
		o.protected = protected
	}
	return nil
}

// serveLambda answers the requests that come through a function URL or API
// Gateway. Whom those have let in is let in.
func (a *app) serveLambda(cfg dashboard.Config, o listenOptions) error {
	var err error
	if cfg.Auth, err = a.tokenAuth(o); err != nil {
		return err
	}
	cfg.Auth.Identify = func(r *http.Request) (string, error) {
		who, ok := lambdahandler.Caller(r.Context())
		if !ok {
			return "", errors.New("the function URL or the route has no authorizer")
		}
		return who, nil
	}
	cfg.User = tokenHolder // Identify has a name for all others
	cfg.Hosts, cfg.Polling, cfg.Logger, cfg.Hide = o.hosts, true, a.log, a.secrets.hide
	handler, err := dashboard.New(cfg)
	if err != nil {
		return &usageError{Err: err}
	}
	lambda.Start(lambdahandler.HTTP(handler))
	return nil
}
