package aurora_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/aurora-migrate/aurora"
)

func TestCompareVersions(t *testing.T) {
	sorted := []string{
		"", "0", "1", "1.9", "1.10", "1a", "1b", "2", "9", "10", "20240101", "20240101120000", "99999999999999999999999999999999",
		"A", "V2", "V10", "a", "a-1", "a1", "a1b", "a2", "a10", "é", "ü2", "世",
	}
	for i, a := range sorted {
		for j, b := range sorted {
			if got, want := aurora.CompareVersions(a, b), min(max(i-j, -1), 1); got != want {
				t.Errorf("CompareVersions(%q, %q) = %d, want %d", a, b, got, want)
			}
		}
	}
	for _, equal := range [][2]string{{"1", "001"}, {"0", "000"}, {"a01b02", "a1b2"}, {"1.0", "1.00"}} {
		if got := aurora.CompareVersions(equal[0], equal[1]); got != 0 {
			t.Errorf("CompareVersions(%q, %q) = %d, want 0", equal[0], equal[1], got)
		}
	}
}

// canonical writes a version without leading zeros in its numbers.
func canonical(v string) string {
	var out strings.Builder
	for i := 0; i < len(v); {
		j := i
		for j < len(v) && v[j] >= '0' && v[j] <= '9' {
			j++
		}
		if j == i {
			out.WriteByte(v[i])
			i++
			continue
		}
		number := strings.TrimLeft(v[i:j], "0")
		if number == "" {
			number = "0"
		}
		out.WriteString(number)
		i = j
	}
	return out.String()
}

// FuzzCompareVersions: it is a total order, and only zeros in front are alike.
func FuzzCompareVersions(f *testing.F) {
	for _, v := range [][3]string{{"1", "2", "10"}, {"1a", "01", "1.0"}, {"a0", "a", "a00b"}, {"\xff1", "", "0"}, {"1\x00", "1", "1 "}} {
		f.Add(v[0], v[1], v[2])
	}
	f.Fuzz(func(t *testing.T, a, b, c string) {
		ab, ba := aurora.CompareVersions(a, b), aurora.CompareVersions(b, a)
		bc, ac := aurora.CompareVersions(b, c), aurora.CompareVersions(a, c)
		switch {
		case ab < -1 || ab > 1:
			t.Errorf("CompareVersions(%q, %q) = %d", a, b, ab)
		case ab != -ba:
			t.Errorf("%q and %q: %d one way, %d the other", a, b, ab, ba)
		case ab <= 0 && bc <= 0 && ac > 0, ab == 0 && bc != ac:
			t.Errorf("%q, %q, %q: %d, %d, but %d", a, b, c, ab, bc, ac)
		case (ab == 0) != (canonical(a) == canonical(b)):
			t.Errorf("%q and %q: %d, but they are %q and %q", a, b, ab, canonical(a), canonical(b))
		case aurora.CompareVersions(a, a) != 0:
			t.Errorf("%q is not equal to itself", a)
		}
	})
}

func TestSort(t *testing.T) {
	given := migs("10_a", "9_b", "20240101_c", "1_d")
	sorted, err := aurora.Sort(given)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(migs("1_d", "9_b", "10_a", "20240101_c"), sorted); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if given[0].Version != "10" {
		t.Error("Sort changed what it was given")
	}
}

func TestNewest(t *testing.T) {
	at := func(id string, token int64, seq int) aurora.Revision {
		return done(id, func(r *aurora.Revision) { r.Token, r.Seq = token, seq })
	}
	all := []aurora.Revision{at("10_b", 2, 1), at("2_a", 1, 7), at("2_a", 3, 1), at("2_a", 2, 9), at("10_b", 2, 3), at("10_b", 2, 2)}
	want := []aurora.Revision{at("2_a", 3, 1), at("10_b", 2, 3)}
	for range len(all) {
		all = append(all[1:], all[0])
		if diff := cmp.Diff(want, aurora.Newest(slices.Clone(all))); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}
