package account

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// The SDK's client of the tagging API takes 7 ms of every start of the program,
// whatever that does then. This is the one request that is needed of it, as the
// Resource Groups Tagging API Reference has it under GetResources.

type tag struct{ Key, Value string }

type tagFilter struct {
	Key    string
	Values []string
}

type getResources struct {
	ResourceTypeFilters []string
	TagFilters          []tagFilter
	PaginationToken     string `json:",omitempty"`
}

type gotResources struct {
	PaginationToken        string
	ResourceTagMappingList []struct {
		ResourceARN string
		Tags        []tag
	}
}

// tagged finds what has the tag. Who may not ask for tags can still list names,
// so that its error counts only when that fails too.
func (a *Account) tagged(ctx context.Context, kind, value string) ([]Resource, error) {
	in := getResources{ResourceTypeFilters: []string{kind}, TagFilters: []tagFilter{{TagKey, []string{value}}}}
	var out []Resource
	for {
		var page gotResources
		if err := a.askTags(ctx, in, &page); err != nil {
			return nil, fmt.Errorf("look for tags: %w", err)
		}
		for _, m := range page.ResourceTagMappingList {
			if name, ok := nameOf(m.ResourceARN); ok {
				out = append(out, Resource{Name: name, Tagged: true, About: about(m.Tags)})
			}
		}
		if page.PaginationToken == "" {
			return sorted(out), nil
		}
		in.PaginationToken = page.PaginationToken
	}
}

func about(tags []tag) string {
	var parts []string
	for _, t := range tags {
		if t.Key != TagKey && !strings.HasPrefix(t.Key, "aws:") {
			parts = append(parts, t.Key+"="+t.Value)
		}
	}
	slices.Sort(parts)
	return strings.Join(parts[:min(len(parts), 4)], ", ")
}

// maxTags bounds an answer, in bytes. AWS sends at most 100 resources at once.
const maxTags = 4 << 20

func (a *Account) askTags(ctx context.Context, in getResources, out *gotResources) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.tagsEndpoint(), bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-amz-json-1.1")
	req.Header.Set("X-Amz-Target", "ResourceGroupsTaggingAPI_20170126.GetResources")
	credentials, err := a.cfg.Credentials.Retrieve(ctx)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(body)
	if err := v4.NewSigner().SignHTTP(ctx, credentials, req, hex.EncodeToString(sum[:]), "tagging", a.cfg.Region, time.Now()); err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxTags))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		var failure struct {
			Type    string `json:"__type"`
			Message string `json:"message"`
		}
		_ = json.Unmarshal(answer, &failure) // then the status has to do
		return fmt.Errorf("%s %s", cmp.Or(failure.Type, resp.Status), failure.Message)
	}
	return json.Unmarshal(answer, out)
}

// tagsEndpoint is where the SDK would ask, too.
func (a *Account) tagsEndpoint() string {
	if url := cmp.Or(os.Getenv("AWS_ENDPOINT_URL_RESOURCE_GROUPS_TAGGING_API"), os.Getenv("AWS_ENDPOINT_URL")); url != "" {
		return url
	}
	domain := "amazonaws.com"
	if strings.HasPrefix(a.cfg.Region, "cn-") {
		domain = "amazonaws.com.cn"
	}
	return "https://tagging." + a.cfg.Region + "." + domain + "/"
}
