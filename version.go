package aurora

import "strings"

// CompareVersions orders versions: runs of digits compare as numbers, all else
// as bytes, so that 2 comes before 10 and 1.9 before 1.10. It returns -1, 0 or
// 1; versions that differ only in leading zeros are equal.
func CompareVersions(a, b string) int {
	for a != "" && b != "" {
		if isDigit(a[0]) && isDigit(b[0]) {
			var x, y string
			x, a = cutDigits(a)
			y, b = cutDigits(b)
			if c := compareNumbers(x, y); c != 0 {
				return c
			}
			continue
		}
		if a[0] != b[0] {
			return strings.Compare(a[:1], b[:1])
		}
		a, b = a[1:], b[1:]
	}
	return strings.Compare(a, b)
}

// canonicalVersion returns the spelling that all versions have in common that
// [CompareVersions] calls equal.
func canonicalVersion(v string) string {
	if !strings.Contains(v, "0") {
		return v
	}
	var b strings.Builder
	for v != "" {
		if !isDigit(v[0]) {
			b.WriteByte(v[0])
			v = v[1:]
			continue
		}
		var digits string
		digits, v = cutDigits(v)
		digits = strings.TrimLeft(digits, "0")
		if digits == "" {
			digits = "0"
		}
		b.WriteString(digits)
	}
	return b.String()
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func cutDigits(s string) (digits, rest string) {
	n := 0
	for n < len(s) && isDigit(s[n]) {
		n++
	}
	return s[:n], s[n:]
}

// compareNumbers compares decimal texts of any length.
func compareNumbers(a, b string) int {
	a, b = strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0")
	if len(a) != len(b) {
		if len(a) < len(b) {
			return -1
		}
		return 1
	}
	return strings.Compare(a, b)
}
