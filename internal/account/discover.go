package account

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
)

// TagKey is the tag of what belongs to a project, and the values are what it
// is. Infrastructure code sets it.
const (
	TagKey      = "aurora:role"
	TagFunction = "migrations-function"
	TagTable    = "migrations-table"
)

// The names by which untagged functions and tables are found, as parts of
// theirs in any case.
const (
	FunctionName = "MigrationFn"
	TableName    = "MigrationsTable"
)

// A Resource is a function or a table that may be a project's.
type Resource struct {
	Name string
	// Tagged says that it was found by its tag, not only by its name.
	Tagged bool
	// About are its other tags, for a person to choose by: "stage=prod".
	About string
}

// Functions finds the functions that may run a project's migrations, by tag,
// or else by name. It is empty when there are none.
func (a *Account) Functions(ctx context.Context) ([]Resource, error) {
	tagged, terr := a.tagged(ctx, "lambda:function", TagFunction)
	if len(tagged) > 0 {
		return tagged, nil
	}
	var out []Resource
	for pages := lambda.NewListFunctionsPaginator(a.Lambda(), &lambda.ListFunctionsInput{}); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("look for the function: %w", err), terr)
		}
		for _, f := range page.Functions {
			out = add(out, *f.FunctionName, FunctionName)
		}
	}
	return sorted(out), nil
}

// Tables finds the tables that may have a project's history, by tag, or else by
// name. It is empty when there are none.
func (a *Account) Tables(ctx context.Context) ([]Resource, error) {
	tagged, terr := a.tagged(ctx, "dynamodb:table", TagTable)
	if len(tagged) > 0 {
		return tagged, nil
	}
	var out []Resource
	for pages := dynamodb.NewListTablesPaginator(a.DynamoDB(), &dynamodb.ListTablesInput{}); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("look for the table: %w", err), terr)
		}
		for _, name := range page.TableNames {
			out = add(out, name, TableName)
		}
	}
	return sorted(out), nil
}

func add(out []Resource, name, part string) []Resource {
	if strings.Contains(strings.ToLower(name), strings.ToLower(part)) {
		out = append(out, Resource{Name: name})
	}
	return out
}

func sorted(r []Resource) []Resource {
	slices.SortFunc(r, func(a, b Resource) int { return strings.Compare(a.Name, b.Name) })
	return r
}

// nameOf takes the name out of "…:function:NAME" and "…:table/NAME".
func nameOf(raw string) (string, bool) {
	parsed, err := arn.Parse(raw)
	if err != nil {
		return "", false
	}
	for _, prefix := range []string{"function:", "table/"} {
		if name, ok := strings.CutPrefix(parsed.Resource, prefix); ok {
			return name, name != ""
		}
	}
	return "", false
}

// Understands reports whether a function is surely one of this program's, which
// answers questions: by its tag, or because it is a program of its own with a
// variable of ours. Another one could take a question for an order to migrate.
func (a *Account) Understands(ctx context.Context, f Resource) bool {
	if f.Tagged {
		return true
	}
	out, err := a.Lambda().GetFunctionConfiguration(ctx, &lambda.GetFunctionConfigurationInput{FunctionName: &f.Name})
	if err != nil || out.Environment == nil || !strings.HasPrefix(string(out.Runtime), "provided") {
		return false
	}
	for name := range out.Environment.Variables {
		if strings.HasPrefix(name, "AURORA_") {
			return true
		}
	}
	return false
}

// Ask invokes a function, waits for its answer, and reads it into out.
func (a *Account) Ask(ctx context.Context, function string, question, out any) error {
	payload, err := json.Marshal(question)
	if err != nil {
		return fmt.Errorf("encode the question: %w", err)
	}
	answer, err := a.Lambda().Invoke(ctx, &lambda.InvokeInput{FunctionName: &function, Payload: payload})
	if err != nil {
		return fmt.Errorf("ask the function %s: %w", function, err)
	}
	if answer.FunctionError != nil {
		var failure struct {
			Message string `json:"errorMessage"`
		}
		if json.Unmarshal(answer.Payload, &failure) != nil || failure.Message == "" {
			failure.Message = *answer.FunctionError
		}
		return fmt.Errorf("the function %s answered: %s", function, failure.Message)
	}
	if err := json.Unmarshal(answer.Payload, out); err != nil {
		return fmt.Errorf("read the answer of the function %s: %w", function, err)
	}
	return nil
}
