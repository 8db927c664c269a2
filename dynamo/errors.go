package dynamo

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// hasCode reports whether err is an answer of AWS with one of these codes.
func hasCode(err error, codes ...string) bool {
	var api smithy.APIError
	return errors.As(err, &api) && slices.Contains(codes, api.ErrorCode())
}

// ErrNoTable says that the table does not exist where it was looked for. It
// comes in a [*TableError].
var ErrNoTable = errors.New("the DynamoDB table does not exist")

// A TableError says that the table is not there, or is not one that a store
// can use.
type TableError struct {
	Table  string
	Reason string // what is wrong, and what to do
	Err    error  // what AWS said, if it did

	missing bool
}

// Error names the table and what to do.
func (e *TableError) Error() string { return fmt.Sprintf("DynamoDB table %s: %s", e.Table, e.Reason) }

// Unwrap returns what AWS said.
func (e *TableError) Unwrap() error { return e.Err }

// Is makes the error of a missing table count as [ErrNoTable].
func (e *TableError) Is(target error) bool { return target == ErrNoTable && e.missing }

// rights are the actions that each request needs, also on the table's indexes.
var rights = map[string]string{
	"GetItem": "dynamodb:GetItem", "Query": "dynamodb:Query",
	"UpdateItem": "dynamodb:UpdateItem", "PutItem": "dynamodb:PutItem",
	"TransactWriteItems": "dynamodb:PutItem, dynamodb:UpdateItem and dynamodb:DeleteItem",
	"DescribeTable":      "dynamodb:DescribeTable", "CreateTable": "dynamodb:CreateTable",
}

var deniedAction = regexp.MustCompile(`not authorized to perform: (dynamodb:[A-Za-z]+)`)

// explain turns what AWS answers to a mistake of the setup into advice.
// Everything else it returns as it is.
func (s *Store) explain(ctx context.Context, op string, err error) error {
	bad := func(format string, args ...any) error {
		return &TableError{Table: s.table, Reason: fmt.Sprintf(format, args...), Err: err}
	}
	var missing *types.ResourceNotFoundException
	switch {
	case err == nil:
		return nil
	case errors.As(err, &missing):
		return &TableError{
			Table: s.table, Reason: fmt.Sprintf("it does not exist in %s; create it, or correct the url", s.place()), Err: err, missing: true,
		}
	case hasCode(err, "AccessDeniedException", "AccessDenied"):
		action := rights[op]
		if m := deniedAction.FindStringSubmatch(err.Error()); m != nil {
			action = m[1]
		}
		return bad("these credentials lack the right %s on the table and its indexes: %v", action, apiMessage(err))
	case hasCode(err, "ExpiredTokenException", "ExpiredToken"):
		return bad("the AWS credentials have expired; log in again: %v", apiMessage(err))
	case hasCode(err, "UnrecognizedClientException", "InvalidSignatureException", "MissingAuthenticationTokenException", "IncompleteSignatureException"):
		return bad("AWS does not accept the credentials: %v", apiMessage(err))
	case hasCode(err, "ValidationException"):
		if shape := s.checkShape(ctx); shape != nil {
			return shape
		}
		return fmt.Errorf("%s on DynamoDB table %s: %v", op, s.table, apiMessage(err))
	case hasCode(err, "ThrottlingException", "ProvisionedThroughputExceededException", "RequestLimitExceeded"):
		return fmt.Errorf("DynamoDB table %s takes no more requests at the moment (tried %d times): %w", s.table, maxAttempts, err)
	}
	var send *smithyhttp.RequestSendError
	if errors.As(err, &send) && ctx.Err() == nil {
		// No *TableError: what was asked may have been done.
		return fmt.Errorf("DynamoDB table %s cannot be reached in %s (tried %d times): %w", s.table, s.place(), maxAttempts, send.Err)
	}
	// The SDK has no error of its own for this.
	if _, reason, ok := strings.Cut(err.Error(), "get identity: get credentials: "); ok {
		return bad("there are no AWS credentials to ask it with; log in, name a profile, or set AWS_ACCESS_KEY_ID: %s", reason)
	}
	return err
}

// apiMessage is the part of an error that AWS wrote: the rest names the
// request's place in the SDK.
func apiMessage(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorMessage()
	}
	return err.Error()
}

// place is where the table is looked for.
func (s *Store) place() string {
	o := s.client.Options()
	if o.BaseEndpoint != nil {
		return "region " + o.Region + " at " + *o.BaseEndpoint
	}
	return "region " + o.Region
}

// checkShape compares the table with what a store needs. It returns nil when
// that cannot be found out.
func (s *Store) checkShape(ctx context.Context) error {
	out, err := s.client.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: &s.table}, s.options...)
	if err != nil || out.Table == nil {
		return nil
	}
	var wrong []string
	if got, want := keyText(out.Table.KeySchema, out.Table.AttributeDefinitions), s.names.PK+" (S), "+s.names.SK+" (S)"; got != want {
		wrong = append(wrong, fmt.Sprintf("its key is %s instead of %s", got, want))
	}
	for _, index := range s.indexes() {
		name := *index.IndexName
		want := keyText(index.KeySchema, s.attributes())
		i := slices.IndexFunc(out.Table.GlobalSecondaryIndexes, func(d types.GlobalSecondaryIndexDescription) bool {
			return aws.ToString(d.IndexName) == name
		})
		if i < 0 {
			wrong = append(wrong, fmt.Sprintf("it lacks the index %s on %s", name, want))
		} else if got := keyText(out.Table.GlobalSecondaryIndexes[i].KeySchema, out.Table.AttributeDefinitions); got != want {
			wrong = append(wrong, fmt.Sprintf("its index %s is on %s instead of %s", name, got, want))
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	return &TableError{Table: s.table, Reason: "it has another shape than a history needs: " + strings.Join(wrong, "; ")}
}

// keyText describes a key like "PK (S), SK (S)".
func keyText(key []types.KeySchemaElement, attributes []types.AttributeDefinition) string {
	var parts []string
	for _, k := range key {
		kind := types.ScalarAttributeType("?")
		for _, a := range attributes {
			if aws.ToString(a.AttributeName) == aws.ToString(k.AttributeName) {
				kind = a.AttributeType
			}
		}
		parts = append(parts, fmt.Sprintf("%s (%s)", aws.ToString(k.AttributeName), kind))
	}
	return strings.Join(parts, ", ")
}
