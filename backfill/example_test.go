package backfill_test

import (
	"context"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/jackc/pgx/v5"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/backfill"
)

var (
	connect func(context.Context) (*pgx.Conn, error)
	client  *dynamodb.Client
)

// An UPDATE, a batch at a time. It need not be idempotent.
func ExampleRows() {
	_ = aurora.Migration{Version: "20260920100000", Name: "grant_points", Up: []aurora.Step{
		aurora.Func{Name: "ten points for everybody", Do: backfill.Rows{
			Table: "accounts",
			SQL:   "UPDATE accounts SET points = points + 10 WHERE {range}",
			Options: backfill.Options{
				PerSecond:  5000,
				SkipFailed: 20,
				Throttle:   backfill.Query(nil, "SELECT count(*) < 50 FROM pg_stat_activity WHERE state = 'active'"),
			},
		}.Run},
	}}
}

// What SQL cannot say is said in Go, in the batch's transaction.
func ExampleRows_do() {
	type user struct {
		ID   string
		Name string
	}
	_ = backfill.Rows{
		Table: "users",
		Where: "display_name IS NULL",
		Do: func(ctx context.Context, tx pgx.Tx, b backfill.Batch) (int64, error) {
			rows, err := tx.Query(ctx, "SELECT id::text, name FROM users WHERE "+b.Range, b.Args...)
			if err != nil {
				return 0, err
			}
			users, err := pgx.CollectRows(rows, pgx.RowToStructByPos[user])
			if err != nil {
				return 0, err
			}
			updates := new(pgx.Batch)
			for _, u := range users {
				updates.Queue("UPDATE users SET display_name = $2 WHERE id = $1::uuid", u.ID, strings.ToUpper(u.Name))
			}
			return int64(len(users)), tx.SendBatch(ctx, updates).Close()
		},
	}.Run
}

// A dry run counts, and tries the first batch without keeping what it did.
func ExampleRows_DryRun() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, err := backfill.Rows{Connect: connect, Table: "users", SQL: "UPDATE users SET plan = 'free' WHERE plan IS NULL AND {range}"}.DryRun(ctx)
	_ = err
}

// Each item gets its role once: the condition keeps a second visit, after a
// kill, from doing anything.
func ExampleItems() {
	_ = aurora.Func{Name: "add user roles", Do: backfill.Items{
		Client: client,
		Table:  "users",
		Scan:   dynamodb.ScanInput{FilterExpression: aws.String("attribute_not_exists(#role)"), ExpressionAttributeNames: map[string]string{"#role": "role"}},
		Change: func(ctx context.Context, item map[string]types.AttributeValue) (backfill.Change, error) {
			return backfill.Change{Update: &types.Update{
				Key:                       map[string]types.AttributeValue{"id": item["id"]},
				UpdateExpression:          aws.String("SET #role = :role ADD version :one"),
				ConditionExpression:       aws.String("attribute_not_exists(#role)"),
				ExpressionAttributeNames:  map[string]string{"#role": "role"},
				ExpressionAttributeValues: map[string]types.AttributeValue{":role": &types.AttributeValueMemberS{Value: "member"}, ":one": &types.AttributeValueMemberN{Value: "1"}},
			}}, nil
		},
	}.Run}
}
