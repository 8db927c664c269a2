package dynamo

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/aurora-migrate/aurora"
)

// Sizes in bytes.
const (
	// readable is how long a text may be to be kept as it is; a longer one is
	// compressed, for DynamoDB charges for every kilobyte.
	readable = 4 << 10
	// partSize is how much of a text one item holds. DynamoDB's limit is 400 KB
	// with everything else in the item.
	partSize = 300 << 10
)

// The kinds of items: how their sort keys begin. All of "latest#…" sorts before
// "lease", so that one query reads both.
const (
	kindLease   = "lease"
	kindLatest  = "latest"
	kindRun     = "run"
	kindText    = "text"
	kindJournal = "journal"
)

// last sorts behind every key with the same beginning: it is the greatest
// character there is.
const last = "\U0010FFFF"

// An item is one of the history's. Its JSON is what journals hold.
type item struct {
	SK string `json:"k"`
	// Data or Zip is the content: a text, or (the part of) one that is
	// compressed.
	Data string `json:"d,omitempty"`
	Zip  []byte `json:"z,omitempty"`
	// Parts is how many items "<SK>#<n>" go on with the content.
	Parts int `json:"p,omitempty"`
	// Output and Description are how many items hold the revision's texts.
	Output      int `json:"o,omitempty"`
	Description int `json:"t,omitempty"`
	// The keys in the indexes, where the item is in one.
	GSI1SK string `json:"g1,omitempty"`
	GSI2PK string `json:"g2p,omitempty"`
	GSI2SK string `json:"g2s,omitempty"`
}

// size is about what DynamoDB counts.
func (it item) size() int {
	return 200 + len(it.SK) + len(it.Data) + len(it.Zip) + 2*(len(it.GSI1SK)+len(it.GSI2PK)+len(it.GSI2SK))
}

// errTorn says that items that belong together were read from before and after
// a write.
var errTorn = errors.New("the items of the history do not fit together")

var escaper = strings.NewReplacer("%", "%25", "#", "%23")
var unescaper = strings.NewReplacer("%25", "%", "%23", "#")

// escape makes a text safe to stand between the # of a key.
func escape(s string) string { return escaper.Replace(s) }

func unescape(s string) string { return unescaper.Replace(s) }

// key puts a sort key together from its kind and texts of any content.
func key(kind string, texts ...string) string {
	var b strings.Builder
	b.WriteString(kind)
	for _, t := range texts {
		b.WriteByte('#')
		b.WriteString(escape(t))
	}
	return b.String()
}

// fields takes a sort key apart.
func fields(sk string) []string {
	parts := strings.Split(sk, "#")
	for i := range parts {
		parts[i] = unescape(parts[i])
	}
	return parts
}

func partKey(sk string, n int) string { return fmt.Sprintf("%s#%04d", sk, n) }

// place is where a revision is in the order of [aurora.Revision.Compare], as a
// text that sorts like it.
func place(r aurora.Revision) string { return fmt.Sprintf("%019d#%010d", r.Token, max(r.Seq, 0)) }

// placeIn is the revision's place in both indexes, which is different for each
// execution.
func placeIn(r aurora.Revision) string { return place(r) + "#" + escape(r.ExecutionID) }

// executionAt returns the execution of a place in an index.
func executionAt(place string) string { return unescape(place[strings.LastIndexByte(place, '#')+1:]) }

// attributes returns the item as DynamoDB takes it.
func (s *Store) item(it item) map[string]types.AttributeValue {
	m := map[string]types.AttributeValue{s.names.PK: str(s.pk), s.names.SK: str(it.SK)}
	if it.Data != "" {
		m["data"] = str(it.Data)
	}
	if it.Zip != nil {
		m["gz"] = &types.AttributeValueMemberB{Value: it.Zip}
	}
	for name, n := range map[string]int{"parts": it.Parts, "outputParts": it.Output, "descriptionParts": it.Description} {
		if n > 0 {
			m[name] = num(n)
		}
	}
	if it.GSI1SK != "" {
		m[s.names.GSI1PK], m[s.names.GSI1SK] = str(s.pk), str(it.GSI1SK)
	}
	if it.GSI2PK != "" {
		m[s.names.GSI2PK], m[s.names.GSI2SK] = str(it.GSI2PK), str(it.GSI2SK)
	}
	return m
}

// parse is the inverse of item, without the keys of the indexes.
func (s *Store) parse(m map[string]types.AttributeValue) item {
	return item{
		SK: text(m[s.names.SK]), Data: text(m["data"]), Zip: binary(m["gz"]),
		Parts: int(number(m["parts"])), Output: int(number(m["outputParts"])), Description: int(number(m["descriptionParts"])),
	}
}

func str(v string) types.AttributeValue { return &types.AttributeValueMemberS{Value: v} }

func num[N int | int64](v N) types.AttributeValue {
	return &types.AttributeValueMemberN{Value: strconv.FormatInt(int64(v), 10)}
}

func flag(v bool) types.AttributeValue { return &types.AttributeValueMemberBOOL{Value: v} }

func text(v types.AttributeValue) string {
	if s, ok := v.(*types.AttributeValueMemberS); ok {
		return s.Value
	}
	return ""
}

func binary(v types.AttributeValue) []byte {
	if b, ok := v.(*types.AttributeValueMemberB); ok {
		return b.Value
	}
	return nil
}

func number(v types.AttributeValue) int64 {
	if n, ok := v.(*types.AttributeValueMemberN); ok {
		i, _ := strconv.ParseInt(n.Value, 10, 64) // only stores write here
		return i
	}
	return 0
}

func boolean(v types.AttributeValue) bool {
	b, ok := v.(*types.AttributeValueMemberBOOL)
	return ok && b.Value
}

// split puts a text into as many items as it needs; the keys are for the caller
// to set.
func split(content string) []item {
	if len(content) <= readable && utf8.ValidString(content) {
		return []item{{Data: content}}
	}
	z := zip([]byte(content))
	var out []item
	for len(z) > 0 {
		n := min(len(z), partSize)
		out = append(out, item{Zip: z[:n]})
		z = z[n:]
	}
	return out
}

// join is the inverse of split.
func join(parts []item) (string, error) {
	if len(parts) == 0 {
		return "", nil
	}
	if parts[0].Zip == nil {
		return parts[0].Data, nil
	}
	var z []byte
	for _, p := range parts {
		z = append(z, p.Zip...)
	}
	b, err := unzip(z)
	if err != nil {
		return "", fmt.Errorf("%w: %s: %w", errTorn, parts[0].SK, err)
	}
	return string(b), nil
}

func zip(b []byte) []byte {
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	_, _ = w.Write(b) // a buffer takes everything
	_ = w.Close()
	return buf.Bytes()
}

func unzip(z []byte) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(z))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

// content returns the items that hold a value under a key and its parts.
func content(sk string, v aurora.Revision) ([]item, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode the revision of %s: %w", v.ID(), err)
	}
	items := split(string(b))
	items[0].SK, items[0].Parts = sk, len(items)-1
	for i := 1; i < len(items); i++ {
		items[i].SK = partKey(sk, i)
	}
	return items, nil
}

// latestItems returns what Latest reads of a revision.
func latestItems(r aurora.Revision) ([]item, error) {
	return content(key(kindLatest, r.Version), bare(r))
}

// bare is the revision without what Latest leaves out.
func bare(r aurora.Revision) aurora.Revision {
	r.Description, r.Output, r.OutputDropped = "", "", 0
	return r
}

// revisionItems returns the revision itself, without the texts.
func (s *Store) revisionItems(r aurora.Revision, output, description int) ([]item, error) {
	r.Output, r.Description = "", ""
	items, err := content(key(kindRun, r.ExecutionID, r.Version), r)
	if err != nil {
		return nil, err
	}
	items[0].Output, items[0].Description = output, description
	items[0].GSI2PK = s.attemptsKey(r.Version)
	items[0].GSI2SK = placeIn(r)
	return items, nil
}

// attemptsKey is the key of a version's revisions in the index of attempts.
func (s *Store) attemptsKey(version string) string { return s.pk + "#" + escape(version) }

// runItem is the execution's entry in the index of executions.
func runItem(newest aurora.Revision) item {
	return item{SK: key(kindRun, newest.ExecutionID), GSI1SK: placeIn(newest)}
}

// The names of a revision's texts in keys.
const (
	textOutput      = "output"
	textDescription = "description"
)

// textItems returns the items of a revision's text; none for an empty one.
func textItems(r aurora.Revision, name, content string) []item {
	if content == "" {
		return nil
	}
	items := split(content)
	for i := range items {
		items[i].SK = partKey(key(kindText, r.ExecutionID, r.Version, name), i)
	}
	return items
}

// revisionOf decodes the item and its parts.
func revisionOf(head item, parts map[string]item) (aurora.Revision, error) {
	all := []item{head}
	for i := 1; i <= head.Parts; i++ {
		p, ok := parts[partKey(head.SK, i)]
		if !ok {
			return aurora.Revision{}, fmt.Errorf("%w: %s lacks its part %d", errTorn, head.SK, i)
		}
		all = append(all, p)
	}
	text, err := join(all)
	if err != nil {
		return aurora.Revision{}, err
	}
	var r aurora.Revision
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return aurora.Revision{}, fmt.Errorf("%w: %s: %w", errTorn, head.SK, err)
	}
	return r, nil
}

// textOf puts a text of a revision together.
func textOf(r aurora.Revision, name string, count int, texts map[string]item) (string, error) {
	parts := make([]item, count)
	for i := range parts {
		sk := partKey(key(kindText, r.ExecutionID, r.Version, name), i)
		p, ok := texts[sk]
		if !ok {
			return "", fmt.Errorf("%w: there is no %s", errTorn, sk)
		}
		parts[i] = p
	}
	return join(parts)
}
