package rewrite

import (
	"slices"
	"strings"
	"testing"
)

func TestListURIs(t *testing.T) {
	t.Parallel()
	const name = "List-Unsubscribe"
	for _, c := range []struct {
		name, header string
		want         []string
	}{
		{"none", "Subject: x\r\n\r\nList-Unsubscribe: <https://body.example/>\r\n", nil},
		{"two", "List-Unsubscribe: <https://e.org/u>, <mailto:u@e.org?subject=a,b>\r\n\r\n", []string{"https://e.org/u", "mailto:u@e.org?subject=a,b"}},
		{"folded", "list-unsubscribe:\r\n <https://e.org/\r\n\tu>,\n <mailto:u@e.org>\r\n\r\n", []string{"https://e.org/u", "mailto:u@e.org"}},
		{"brackets in it", "List-Unsubscribe: <https://e.org/(u)>\n\n", []string{"https://e.org/(u)"}},
		{"comment", "List-Unsubscribe: (or <https://not.example/> (really)) <mailto:u@e.org> (mail)\n\n", []string{"mailto:u@e.org"}},
		{"two fields", "List-Unsubscribe: <https://e.org/1>\nSubject: x\nLIST-UNSUBSCRIBE: <https://e.org/2>\n\n", []string{"https://e.org/1", "https://e.org/2"}},
		{"bare", "List-Unsubscribe: https://e.org/u?a=1, mailto:u@e.org\n\n", []string{"https://e.org/u?a=1", "mailto:u@e.org"}},
		{"no end", "List-Unsubscribe: <https://e.org/u", []string{"https://e.org/u"}},
		{"encoded words", "List-Unsubscribe: =?us-ascii?Q?=3Chttps=3A//e=2Eorg/?=\n =?us-ascii?Q?u=3Fa=3D1=3E?=\n\n", []string{"https://e.org/u?a=1"}},
		{"nothing in it", "List-Unsubscribe: <>, < >, <no scheme>\n\n", nil},
		{"another name", "X-List-Unsubscribe: <https://e.org/u>\nList-Unsubscribe-Post: <https://e.org/v>\n\n", nil},
	} {
		if got := ListURIs([]byte(c.header), name); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	if got := ListURIs([]byte(strings.Repeat("x", MaxSize+1)), name); got != nil {
		t.Errorf("too large: %q", got)
	}
}
