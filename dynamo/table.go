package dynamo

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// CreateTable creates the table with its indexes, paid by request, and waits
// until it can be used. One that exists already is only checked. It is meant
// for development and tests: elsewhere, a table belongs to the infrastructure,
// with backups and protection against deletion.
func (s *Store) CreateTable(ctx context.Context) error {
	_, err := s.client.CreateTable(ctx, &dynamodb.CreateTableInput{
		TableName:              &s.table,
		BillingMode:            types.BillingModePayPerRequest,
		AttributeDefinitions:   s.attributes(),
		KeySchema:              keySchema(s.names.PK, s.names.SK),
		GlobalSecondaryIndexes: s.indexes(),
	}, s.options...)
	var exists *types.ResourceInUseException
	if err != nil && !errors.As(err, &exists) {
		return fmt.Errorf("create the table: %w", s.explain(ctx, "CreateTable", err))
	}
	if err := s.waitActive(ctx); err != nil {
		return fmt.Errorf("wait for the table: %w", err)
	}
	return s.checkShape(ctx)
}

func (s *Store) waitActive(ctx context.Context) error {
	for {
		out, err := s.client.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: &s.table}, s.options...)
		var missing *types.ResourceNotFoundException
		switch {
		case errors.As(err, &missing): // not everywhere yet
		case err != nil:
			return s.explain(ctx, "DescribeTable", err)
		case isActive(out.Table):
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func isActive(t *types.TableDescription) bool {
	if t.TableStatus != types.TableStatusActive {
		return false
	}
	for _, index := range t.GlobalSecondaryIndexes {
		// A stand-in may leave the status out.
		if index.IndexStatus != "" && index.IndexStatus != types.IndexStatusActive {
			return false
		}
	}
	return true
}

func (s *Store) attributes() []types.AttributeDefinition {
	var out []types.AttributeDefinition
	for _, name := range []string{s.names.PK, s.names.SK, s.names.GSI1PK, s.names.GSI1SK, s.names.GSI2PK, s.names.GSI2SK} {
		out = append(out, types.AttributeDefinition{AttributeName: aws.String(name), AttributeType: types.ScalarAttributeTypeS})
	}
	return out
}

// indexes need no more than the keys: what they lead to is read from the table
// itself.
func (s *Store) indexes() []types.GlobalSecondaryIndex {
	keysOnly := &types.Projection{ProjectionType: types.ProjectionTypeKeysOnly}
	return []types.GlobalSecondaryIndex{
		{IndexName: aws.String(s.names.Executions), KeySchema: keySchema(s.names.GSI1PK, s.names.GSI1SK), Projection: keysOnly},
		{IndexName: aws.String(s.names.Attempts), KeySchema: keySchema(s.names.GSI2PK, s.names.GSI2SK), Projection: keysOnly},
	}
}

func keySchema(hash, sort string) []types.KeySchemaElement {
	return []types.KeySchemaElement{
		{AttributeName: aws.String(hash), KeyType: types.KeyTypeHash},
		{AttributeName: aws.String(sort), KeyType: types.KeyTypeRange},
	}
}
