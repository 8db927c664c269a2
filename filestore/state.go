package filestore

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/aurora-migrate/aurora"
)

// A state is what the file says up to an offset.
type state struct {
	header   string
	offset   int64
	live     int64 // the bytes of revisions that no later one replaced
	projects map[string]*project
}

type project struct {
	lease     leaseRecord
	revisions map[revisionKey]entry
}

type revisionKey struct{ execution, version string }

// An entry is a revision, and where the file has it whole.
type entry struct {
	bare   aurora.Revision // without the texts
	offset int64           // of its record
	index  int             // in its record
	size   int             // of its JSON
}

func newState(header string) *state {
	return &state{header: header, offset: int64(len(header)), projects: make(map[string]*project)}
}

// project returns a project, empty if nothing was ever written.
func (st *state) project(name string) *project {
	p := st.projects[name]
	if p == nil {
		p = &project{revisions: make(map[revisionKey]entry)}
	}
	return p
}

// advance reads the records that follow, up to a size of the file.
func (st *state) advance(f io.ReaderAt, size int64) error {
	for {
		payload, line, err := readFrame(f, st.offset, size)
		if err != nil {
			return err
		}
		if err := st.apply(payload, line); err != nil {
			return err
		}
	}
}

// apply adds the record at the state's offset.
func (st *state) apply(payload []byte, line int64) error {
	bad := func(err error) error { return &damage{st.offset, "the record makes no sense: " + err.Error()} }
	var r record
	if err := json.Unmarshal(payload, &r); err != nil {
		return bad(err)
	}
	revisions, err := r.revisions()
	if err != nil {
		return bad(err)
	}
	p := st.project(r.Project)
	st.projects[r.Project] = p
	if r.Lease != nil {
		p.lease = *r.Lease
	}
	for i, rev := range revisions {
		k := revisionKey{rev.ExecutionID, rev.Version}
		if old, ok := p.revisions[k]; ok {
			st.live -= int64(old.size)
		}
		rev.Description, rev.Output = "", ""
		p.revisions[k] = entry{rev, st.offset, i, len(r.Save[i])}
		st.live += int64(len(r.Save[i]))
	}
	st.offset += line
	return nil
}

func (r record) revisions() ([]aurora.Revision, error) {
	out := make([]aurora.Revision, len(r.Save))
	for i, raw := range r.Save {
		if err := json.Unmarshal(raw, &out[i]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// entries returns those that want accepts, oldest first.
func (p *project) entries(want func(aurora.Revision) bool) []entry {
	var out []entry
	for _, e := range p.revisions {
		if want == nil || want(e.bare) {
			out = append(out, e)
		}
	}
	slices.SortFunc(out, func(a, b entry) int {
		if c := a.bare.Compare(b.bare); c != 0 {
			return c
		}
		if c := strings.Compare(a.bare.ExecutionID, b.bare.ExecutionID); c != 0 {
			return c
		}
		return strings.Compare(a.bare.Version, b.bare.Version)
	})
	return out
}

// A loader reads whole revisions from the file. Those of one record it decodes
// together.
type loader struct {
	f       io.ReaderAt
	size    int64
	offset  int64
	current []json.RawMessage
}

func (l *loader) load(e entry) (raw json.RawMessage, rev aurora.Revision, err error) {
	if l.current == nil || l.offset != e.offset {
		payload, _, err := readFrame(l.f, e.offset, l.size)
		if errors.Is(err, io.EOF) || errors.Is(err, errTorn) {
			err = &damage{e.offset, "a record is gone"}
		}
		if err != nil {
			return nil, rev, err
		}
		var r record
		if err := json.Unmarshal(payload, &r); err != nil {
			return nil, rev, &damage{e.offset, err.Error()}
		}
		l.offset, l.current = e.offset, r.Save
	}
	if e.index >= len(l.current) {
		return nil, rev, &damage{e.offset, fmt.Sprintf("the record has no revision %d", e.index)}
	}
	raw = l.current[e.index]
	return raw, rev, json.Unmarshal(raw, &rev)
}
