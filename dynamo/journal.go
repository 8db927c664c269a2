package dynamo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/aurora-migrate/aurora"
)

// journalItems returns the items that hold the journal of other items.
func journalItems(id string, items []item) ([]item, error) {
	b, err := json.Marshal(items)
	if err != nil {
		return nil, fmt.Errorf("encode the journal: %w", err)
	}
	var out []item
	for z := zip(b); len(z) > 0; {
		n := min(len(z), partSize)
		out = append(out, item{SK: partKey(key(kindJournal, id), len(out)), Zip: z[:n]})
		z = z[n:]
	}
	out[0].Parts = len(out) - 1
	return out, nil
}

// saveLarge writes what does not fit into a transaction. The moment at which it
// all happens is that in which the lease's item names the journal: from then on
// readers see what is in it, and whoever has the lease copies it to where it
// belongs.
func (l *lease) saveLarge(ctx context.Context, d *draft, items []item) error {
	pages, err := journalItems(d.id, items)
	if err != nil {
		return err
	}
	rest := pages
	for !fits(rest) {
		// Nobody looks at a journal that the lease does not name.
		if _, err := l.store.putItem(ctx, &dynamodb.PutItemInput{TableName: &l.store.table, Item: l.store.item(rest[0])}); err != nil {
			return fmt.Errorf("write the journal: %w", err)
		}
		rest = rest[1:]
	}
	if err := l.write(ctx, d, l.puts(rest), &d.id); err != nil {
		return err
	}
	l.journal = d.id
	// It is saved. What follows need not succeed now.
	if err := l.copyJournal(ctx, items, len(pages)); err != nil {
		l.store.log.Warn("could not yet put a large save in its place; readers look into its journal until then", "err", err)
	}
	return nil
}

// redo copies the journal that an earlier write has left, if there is one.
func (l *lease) redo(ctx context.Context) error {
	if l.journal == "" {
		return nil
	}
	items, pages, err := l.store.readJournal(ctx, l.journal)
	if errors.Is(err, errTorn) && len(l.unsure) > 0 {
		// The write that removed it has happened: write finds that out.
		items, pages, err = nil, 0, nil
	}
	if err != nil {
		return err
	}
	return l.copyJournal(ctx, items, pages)
}

// copyJournal writes a journal's items to their places, then removes it.
func (l *lease) copyJournal(ctx context.Context, items []item, pages int) error {
	step := func(writes []types.TransactWriteItem, journal *string) error {
		for {
			err := l.write(ctx, &draft{id: aurora.NewExecutionID()}, writes, journal)
			if !errors.Is(err, errRedraft) {
				return err
			}
		}
	}
	for _, chunk := range chunks(items) {
		if err := step(l.puts(chunk), nil); err != nil {
			return err
		}
	}
	var removals []types.TransactWriteItem
	for i := range pages {
		removals = append(removals, types.TransactWriteItem{Delete: &types.Delete{TableName: &l.store.table, Key: map[string]types.AttributeValue{
			l.store.names.PK: str(l.store.pk), l.store.names.SK: str(partKey(key(kindJournal, l.journal), i)),
		}}})
	}
	// Once its name is gone, nobody looks for it.
	first := removals[:min(maxItems, len(removals))]
	none := ""
	if err := step(first, &none); err != nil {
		return err
	}
	l.journal = ""
	for rest := removals[len(first):]; len(rest) > 0; rest = rest[min(maxItems, len(rest)):] {
		if err := step(rest[:min(maxItems, len(rest))], nil); err != nil {
			return err
		}
	}
	return nil
}

// readJournal returns what a journal holds, and in how many items. It returns
// errTorn when the journal is not there any more.
func (s *Store) readJournal(ctx context.Context, id string) ([]item, int, error) {
	sk := key(kindJournal, id)
	parts, _, err := s.scan(ctx, sk+"#", sk+"#"+last)
	if err != nil {
		return nil, 0, fmt.Errorf("read the journal: %w", err)
	}
	if len(parts) == 0 || len(parts) != parts[0].Parts+1 {
		return nil, 0, fmt.Errorf("%w: the journal %s is gone", errTorn, id)
	}
	text, err := join(parts)
	if err != nil {
		return nil, 0, err
	}
	var items []item
	if err := json.Unmarshal([]byte(text), &items); err != nil {
		return nil, 0, fmt.Errorf("read the journal %s: %w", id, err)
	}
	return items, len(parts), nil
}
