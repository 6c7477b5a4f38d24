package consenttest

import "testing"

// TestCheck: the check itself can fail.
func TestCheck(t *testing.T) {
	t.Parallel()
	const never = 100
	for _, c := range []struct {
		name    string
		changes []Change
		counted []Counted
		right   bool
	}{
		{"nothing was said", nil, []Counted{{1, 1, 2}}, true},
		{"before", []Change{{1, true, 5, 10, 20}}, []Counted{{1, 1, 2}, {1, 15, 16}, {1, 19, 30}}, true},
		{"after it was effective", []Change{{1, true, 5, 10, 20}}, []Counted{{1, 21, 22}}, false},
		{"after a recorded one that nobody was told of", []Change{{1, true, 5, 10, never}}, []Counted{{1, 50, 60}}, true},
		{"somebody else", []Change{{1, true, 5, 10, 20}}, []Counted{{2, 21, 22}}, true},
		{"granted again", []Change{{1, true, 5, 10, 20}, {1, false, 6, 30, 40}}, []Counted{{1, 35, 36}, {1, 50, 51}}, true},
		{"between a refusal and a grant", []Change{{1, true, 5, 10, 20}, {1, false, 6, 30, 40}}, []Counted{{1, 21, 29}}, false},
		{"refused again", []Change{{1, true, 5, 10, 20}, {1, false, 6, 30, 40}, {1, true, 7, 50, 60}}, []Counted{{1, 55, 56}, {1, 61, 62}}, false},
		{"two at once, in the order of the log", []Change{{1, true, 5, 10, 20}, {1, false, 6, 10, 20}}, []Counted{{1, 21, 22}}, true},
		{"two at once, the refusal last", []Change{{1, true, 6, 10, 20}, {1, false, 5, 10, 20}}, []Counted{{1, 21, 22}}, false},
		{"said again", []Change{{1, true, 5, 10, 20}, {1, true, 0, 30, 40}}, []Counted{{1, 1, 2}}, true},
		{"said again, after it was granted", []Change{{1, true, 5, 10, 20}, {1, false, 6, 22, 25}, {1, true, 0, 30, 40}}, nil, false},
		{"said again, while it was granted", []Change{{1, true, 5, 10, 20}, {1, false, 6, 22, 35}, {1, true, 0, 30, 40}}, nil, true},
		{"said again, never said", []Change{{1, true, 0, 30, 40}}, nil, false},
		{"an answer that came after the order of the log", []Change{{1, true, 6, 1, 2}, {1, false, 5, 10, 20}}, nil, false},
	} {
		if err := Check(c.changes, c.counted); (err == nil) != c.right {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
