package dsn

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var (
	clear  = Scheme{"kafka", false, "9092"}
	secure = Scheme{"kafkas", true, "9093"}
)

func TestParse(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("from a file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		line, user, password, hosts, path string
		tls                               bool
	}{
		{"kafka://a", "", "", "a:9092", "", false},
		{"kafkas://a,b:1,[::1],[::1]:2", "", "", "a:9093 b:1 [::1]:9093 [::1]:2", "", true},
		{"kafka://u:p%40s%2F@a:1,b:2/x/", "u", "p@s/", "a:1 b:2", "x", false},
		{"kafka://u@a?password_file=" + file, "u", "from a file", "a:9092", "", false},
	} {
		d, err := Parse(tc.line, clear, secure)
		if err != nil {
			t.Errorf("%s: %v", tc.line, err)
			continue
		}
		if d.User != tc.user || d.Password != tc.password || strings.Join(d.Hosts, " ") != tc.hosts || d.Path != tc.path || (d.TLS != nil) != tc.tls {
			t.Errorf("%s: %+v", tc.line, d)
		}
		if err := d.Rest(); err != nil {
			t.Errorf("%s: %v", tc.line, err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for line, says := range map[string]string{
		"":                                  "kafka:// or kafkas://",
		"kafka://":                          "must begin with",
		"a:9092":                            "must begin with",
		"http://a":                          "must begin with",
		"kafka://a:0":                       "no host:port",
		"kafka://a:70000":                   "no host:port",
		"kafka://a,":                        "no host:port",
		"kafka://u:secret%zz@a":             "%XX",
		"kafka://u:secret/more@a":           "%XX",
		"kafka://u:1234/secret@a:1/x":       "%XX",
		"kafka://u:p@s/secret@a:1/x":        "%XX",
		"kafka://u:1?secret@a:1/x":          "%XX",
		"kafka://u:secret#secret@a:1/x":     "%XX",
		"kafka://a?x=%zz":                   "name=value",
		"kafka://a?ca=x":                    "in the clear",
		"kafkas://a?ca=/nowhere":            "ca: open /nowhere",
		"kafkas://a?cert=/nowhere":          "cert and key",
		"kafka://u:secret@a?password_file=": "password_file",
	} {
		_, err := Parse(line, clear, secure)
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, want %q", line, err, says)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: the error tells the password: %v", line, err)
		}
	}
}

func TestTakeAndRest(t *testing.T) {
	t.Parallel()
	d, err := Parse("kafka://a?x=1&x=2&y=", clear)
	if err != nil {
		t.Fatal(err)
	}
	if v, ok := d.Take("x"); v != "2" || !ok {
		t.Errorf("x is %q, %v", v, ok)
	}
	if _, ok := d.Take("x"); ok {
		t.Error("x was taken twice")
	}
	if err := d.Rest(); err == nil || !strings.Contains(err.Error(), "y") {
		t.Errorf("got %v", err)
	}
}
