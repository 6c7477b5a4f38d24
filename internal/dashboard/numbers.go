package dashboard

import (
	"cmp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"mailbeacon/internal/report"
)

const (
	thin  = "\u202f" // a narrow space that does not break
	blank = "–"      // where there is no number
)

// count groups the digits by thousands.
func count[T int | int64 | uint64](n T) string {
	s := strconv.FormatInt(int64(n), 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + thin + s[i:]
	}
	return s
}

// plural is a count of something.
func plural[T int | int64 | uint64](n T, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return count(n) + " " + many
}

// percent is a share, to a tenth; below one per cent to a hundredth.
func percent(f float64) string {
	digits := 1
	if f > 0 && f < 0.00995 {
		digits = 2
	}
	return strconv.FormatFloat(100*f, 'f', digits, 64)
}

// span is a range of shares.
func span(r *report.Rate) string {
	low, high := percent(r.Low), percent(r.High)
	if low == high {
		return low + thin + "%"
	}
	return low + blank + high + thin + "%"
}

// between is a range of counts.
func between(low, high uint64) string {
	if low == high {
		return count(low)
	}
	return count(low) + blank + count(high)
}

// size is a number of bytes.
func size(n int64) string {
	for _, u := range []struct {
		name string
		of   int64
	}{{"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}} {
		if n >= u.of {
			return strconv.FormatFloat(float64(n)/float64(u.of), 'f', 1, 64) + thin + u.name
		}
	}
	return count(n) + thin + "bytes"
}

// lapse is a duration in its largest unit, rounded down.
func lapse(d time.Duration) string {
	for _, u := range []struct {
		name string
		of   time.Duration
	}{{"days", 24 * time.Hour}, {"h", time.Hour}, {"min", time.Minute}, {"s", time.Second}} {
		if d >= 2*u.of || u.of == time.Second && d >= u.of {
			return count(int64(d/u.of)) + thin + u.name
		}
	}
	return count(max(0, d.Milliseconds())) + thin + "ms"
}

// short cuts a text to so many characters.
func short(s string, most int) string {
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	r := []rune(s)
	return strings.TrimSpace(string(r[:most-1])) + "…"
}

// list is words as in a sentence.
func list(words []string) string { return strings.Join(words, ", ") }

// atMost is whether a is before b in a list by number, the highest first; ties go by name.
func byNumber(a, b uint64, nameA, nameB string) int {
	return cmp.Or(cmp.Compare(b, a), cmp.Compare(nameA, nameB))
}
