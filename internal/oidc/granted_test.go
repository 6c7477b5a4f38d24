package oidc

import "testing"

// TestGranted: a claim may be a text or a list, and anything else gives nothing. Of several values the most important one counts.
func TestGranted(t *testing.T) {
	t.Parallel()
	grants := []Grant{{"staff", "admin", ""}, {"news", "marketer", ""}}
	for _, c := range []struct {
		claim any
		want  string
	}{
		{"staff", "admin"}, {"news", "marketer"}, {[]any{"x", "news", "staff"}, "admin"}, {[]any{1, nil, "news"}, "marketer"},
		{"staff,news", ""}, {"Staff", ""}, {"", ""}, {nil, ""}, {true, ""}, {map[string]any{"staff": true}, ""}, {[]any{}, ""}, {[]any{[]any{"staff"}}, ""},
	} {
		if g, ok := granted(grants, c.claim); g.Role != c.want || ok != (c.want != "") {
			t.Errorf("%v gives %q", c.claim, g.Role)
		}
	}
}
