package backfill

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// A checkpoint is what the step saves: the backfills it ran so far, by name.
type checkpoint struct {
	Backfills map[string]*state `json:"backfills"`
}

// A state is what is saved of one backfill.
type state struct {
	// Source says what is gone through: places in something else are worthless.
	Source string `json:"source"`
	// Change is a fingerprint of what is done to it, if that has a text.
	Change string `json:"change,omitempty"`
	// Run names the rows of the progress table.
	Run      string   `json:"run"`
	Plan     *plan    `json:"plan,omitempty"`
	Parts    []*part  `json:"parts,omitempty"`
	Total    int64    `json:"total,omitempty"`
	Changed  int64    `json:"changed,omitempty"`
	Failures int64    `json:"failures,omitempty"`
	Failed   []Failed `json:"failed,omitempty"`
	Complete bool     `json:"complete,omitempty"`
	// Token is that of the last run that came to the end.
	Token int64 `json:"token,omitempty"`

	Took time.Duration `json:"took,omitempty"`
}

// A plan is how far the look for borders between parts has come.
type plan struct {
	Step    int64 `json:"step"` // rows between two borders
	Rows    int64 `json:"rows"` // counted so far
	Borders []key `json:"borders"`
	At      key   `json:"at"` // the last key counted
}

// A part is a stretch of the key that one worker at a time goes through.
type part struct {
	// After and UpTo bound it; a nil After is the beginning. At is the last key
	// that is done with, nil when there is none.
	After key `json:"after,omitempty"`
	UpTo  key `json:"upTo,omitempty"`
	At    key `json:"at,omitempty"`
	// Segment is where a scan of items goes on.
	Segment itemKey `json:"segment,omitempty"`

	Visited int64 `json:"visited,omitempty"`
	Done    bool  `json:"done,omitempty"`

	// number is its index, and mark what its row in the progress table says.
	number int
	mark   string
}

// place is the last key that is done with, or where the part begins.
func (p *part) place() key {
	if p.At != nil {
		return p.At
	}
	return p.After
}

// A key is the key of a row, one text for each column.
type key []string

// An itemKey is the key of an item. Key attributes are strings, numbers or
// bytes (Amazon DynamoDB Developer Guide, "Naming rules and data types").
type itemKey map[string]types.AttributeValue

type jsonKey struct {
	S *string `json:"S,omitempty"`
	N *string `json:"N,omitempty"`
	B []byte  `json:"B,omitempty"`
}

// MarshalJSON writes it as DynamoDB's own JSON does.
func (k itemKey) MarshalJSON() ([]byte, error) {
	out := make(map[string]jsonKey, len(k))
	for name, v := range k {
		switch v := v.(type) {
		case *types.AttributeValueMemberS:
			out[name] = jsonKey{S: &v.Value}
		case *types.AttributeValueMemberN:
			out[name] = jsonKey{N: &v.Value}
		case *types.AttributeValueMemberB:
			out[name] = jsonKey{B: v.Value}
		default:
			return nil, fmt.Errorf("the key attribute %s is a %T", name, v)
		}
	}
	return json.Marshal(out)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (k *itemKey) UnmarshalJSON(b []byte) error {
	var in map[string]jsonKey
	if err := json.Unmarshal(b, &in); err != nil {
		return err
	}
	*k = make(itemKey, len(in))
	for name, v := range in {
		switch {
		case v.S != nil:
			(*k)[name] = &types.AttributeValueMemberS{Value: *v.S}
		case v.N != nil:
			(*k)[name] = &types.AttributeValueMemberN{Value: *v.N}
		default:
			(*k)[name] = &types.AttributeValueMemberB{Value: v.B}
		}
	}
	return nil
}

// encode makes a copy of the checkpoint that nobody changes.
func encode(c checkpoint) (json.RawMessage, error) {
	b, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("encode the checkpoint: %w", err)
	}
	return b, nil
}
