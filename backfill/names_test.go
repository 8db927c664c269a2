package backfill_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/jackc/pgx/v5"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/auroratest"
	"github.com/aurora-migrate/aurora/backfill"
	"github.com/aurora-migrate/aurora/internal/dynamotest"
	"github.com/aurora-migrate/aurora/internal/pgtest"
)

// A run is the Run of Rows or of Items.
type run = func(context.Context, *aurora.Env) error

// wantNames runs a step of two backfills of one table. Under one name the second
// is an error, in a run that goes on too, and under two names both are done: also
// when the process ends between them.
func wantNames(t *testing.T, first, second, named run, ran func(t *testing.T) string) {
	t.Helper()
	oneName := func(ctx context.Context, env *aurora.Env) error {
		if err := first(ctx, env); err != nil {
			return fmt.Errorf("the first: %w", err)
		}
		return second(ctx, env)
	}
	store := new(auroratest.Memory)
	for range 2 {
		if _, err := step(t.Context(), store, oneName); err == nil || strings.Contains(err.Error(), "the first:") || !strings.Contains(err.Error(), "different names") {
			t.Errorf("two under one name: %v", err)
		}
		if got := ran(t); got != "1 0" {
			t.Errorf("two under one name changed %s", got)
		}
	}
	ended := errors.New("the process ended")
	end := true
	twoNames := func(ctx context.Context, env *aurora.Env) error {
		if err := first(ctx, env); err != nil || end {
			return errors.Join(err, ended)
		}
		return named(ctx, env)
	}
	// It goes on from what the first left.
	if _, err := step(t.Context(), store, twoNames); !errors.Is(err, ended) || strings.Contains(err.Error(), "different names") {
		t.Errorf("a run that ends behind the first: %v", err)
	}
	end = false
	if _, err := step(t.Context(), store, twoNames); err != nil {
		t.Errorf("two names: %v", err)
	}
	if got := ran(t); got != "1 1" {
		t.Errorf("two names changed %s", got)
	}
}

func TestNamesOfRows(t *testing.T) {
	url := pgtest.URL(t)
	numbers(t, url, 2000)
	pgtest.Exec(t, url, "ALTER TABLE numbers ADD second int NOT NULL DEFAULT 0")
	add := func(column string) backfill.Rows {
		return backfill.Rows{Connect: connector(url), Table: "numbers", Do: func(ctx context.Context, tx pgx.Tx, b backfill.Batch) (int64, error) {
			tag, err := tx.Exec(ctx, "UPDATE numbers SET "+column+" = "+column+" + 1 WHERE "+b.Range, b.Args...)
			return tag.RowsAffected(), err
		}}
	}
	named := add("second")
	named.Name = "second"
	wantNames(t, add("count").Run, add("second").Run, named.Run, func(t *testing.T) string {
		return pgtest.One(t, url, "SELECT avg(count)::int || ' ' || avg(second)::int FROM numbers")
	})
}

// Each step of a migration has a checkpoint, and so names, of its own.
func TestNamesOfSteps(t *testing.T) {
	url := pgtest.URL(t)
	numbers(t, url, 1000)
	one := backfill.Rows{Connect: connector(url), Table: "numbers", SQL: addOne}
	r := &aurora.Runner{Store: new(auroratest.Memory), Migrations: []aurora.Migration{{
		Version: "1", Up: []aurora.Step{aurora.Func{Name: "first", Do: one.Run}, aurora.Func{Name: "second", Do: one.Run}},
	}}}
	if _, err := r.Run(t.Context(), aurora.Request{}); err != nil {
		t.Fatal(err)
	}
	if got := pgtest.One(t, url, "SELECT min(count) || ' ' || max(count) FROM numbers"); got != "2 2" {
		t.Errorf("counts are %s, want 2 2", got)
	}
}

func TestNamesOfItems(t *testing.T) {
	table, client := newTable(t, 300), dynamotest.Client(dynamotest.Endpoint(t))
	add := func(attribute string) backfill.Items {
		return backfill.Items{Client: client, Table: table, Change: func(_ context.Context, item map[string]types.AttributeValue) (backfill.Change, error) {
			return backfill.Change{Update: &types.Update{
				Key: map[string]types.AttributeValue{"id": item["id"]}, UpdateExpression: aws.String("ADD #a :one"),
				ExpressionAttributeNames: map[string]string{"#a": attribute}, ExpressionAttributeValues: map[string]types.AttributeValue{":one": number(1)},
			}}, nil
		}}
	}
	named := add("second")
	named.Name = "second"
	wantNames(t, add("first").Run, add("second").Run, named.Run, func(t *testing.T) string {
		out, err := client.Scan(t.Context(), &dynamodb.ScanInput{TableName: &table})
		if err != nil {
			t.Fatal(err)
		}
		found := map[string]bool{}
		for _, item := range out.Items {
			value := func(name string) string {
				if v, ok := item[name].(*types.AttributeValueMemberN); ok {
					return v.Value
				}
				return "0"
			}
			found[value("first")+" "+value("second")] = true
		}
		return strings.Join(slices.Sorted(maps.Keys(found)), ", ")
	})
}
