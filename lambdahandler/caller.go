package lambdahandler

import (
	"cmp"
	"context"

	"github.com/aws/aws-lambda-go/events"
)

type callerKey struct{}

// Caller returns who asks, for a request that [HTTP] hands on, as API Gateway
// or the function URL has verified it: the e-mail, the name or the subject of a
// JSON Web Token, the ARN of an IAM identity, or the principalId that a Lambda
// authorizer gives. It is false where nothing was verified. Who may invoke the
// function itself can claim to be anybody. The fields are those of the API
// Gateway developer guide, "Create AWS Lambda proxy integrations for HTTP
// APIs", and the Lambda developer guide, "Invoking Lambda function URLs".
func Caller(ctx context.Context) (who string, ok bool) {
	who, _ = ctx.Value(callerKey{}).(string)
	return who, who != ""
}

func withCaller(ctx context.Context, a *events.APIGatewayV2HTTPRequestContextAuthorizerDescription) context.Context {
	who := ""
	switch {
	case a == nil:
	case a.JWT != nil:
		claims := a.JWT.Claims
		who = cmp.Or(claims["email"], claims["preferred_username"], claims["username"], claims["sub"])
	case a.IAM != nil:
		who = cmp.Or(a.IAM.UserARN, a.IAM.UserID)
	case a.Lambda != nil:
		who, _ = a.Lambda["principalId"].(string)
	}
	if who == "" {
		return ctx
	}
	return context.WithValue(ctx, callerKey{}, who)
}
