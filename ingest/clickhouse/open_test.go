package clickhouse

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	engine "mailbeacon/internal/engines/clickhouse"
	"mailbeacon/internal/engines/clickhouse/clickhousetest"
)

func TestParse(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ setting, want string }{
		{"clickhouse://localhost/mailbeacon", "clickhouse://default@localhost:9000/mailbeacon"},
		{"clickhouse://a:1,b,c:3/m?replicated=true", "clickhouse://default@a:1,b:9000,c:3/m"},
		{"clickhouses://me:p%40ss@[::1]:7/m", "clickhouses://me@[::1]:7/m"},
		{"clickhouses://[::1]/m?server_name=x", "clickhouses://default@[::1]:9440/m"},
		{"http://h/m", "http://default@h:8123/m"},
		{"https://h/m/", "https://default@h:8443/m"},
	} {
		o, err := Parse(c.setting)
		if err != nil || o.String() != c.want {
			t.Errorf("%s: %s, %v, want %s", c.setting, o, err, c.want)
		}
	}
	o, err := Parse("clickhouses://me:p%40s%3As@h/m?replicated=true&cluster=c1&dial_timeout=1s&read_timeout=2m")
	must(t, err)
	file := filepath.Join(t.TempDir(), "password")
	must(t, os.WriteFile(file, []byte("from a file\n"), 0o600))
	if o, err := Parse("clickhouse://me@h/m?password_file=" + file); err != nil || o.Password != "from a file" {
		t.Errorf("a password in a file: %v", err)
	}
	if o.Password != "p@s:s" || !o.Replicated || o.Cluster != "c1" || o.DialTimeout != time.Second || o.ReadTimeout != 2*time.Minute || o.TLS == nil {
		t.Errorf("%+v", o)
	}
}

func TestParseSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	empty := filepath.Join(t.TempDir(), "empty.pem")
	must(t, os.WriteFile(empty, nil, 0o600))
	for setting, word := range map[string]string{
		"":                                      "clickhouse://",
		"localhost:9000":                        "clickhouse://",
		"kafka://secret@h/m":                    "clickhouse://",
		"clickhouse://h":                        "database",
		"clickhouse://h/default":                "one of its own",
		"clickhouse://h/a`b":                    "database",
		"clickhouse:///m":                       "host:port",
		"clickhouse://h:0/m":                    "host:port",
		"clickhouse://h:x/m":                    "host:port",
		"clickhouse://h,/m":                     "host:port",
		"clickhouse://u:secret%zz@h/m":          "%XX",
		"clickhouse://u:sec ret@h/m":            "%XX",
		"clickhouse://u:secret@h/m?async=1":     "async",
		"clickhouse://h/m?ca=x":                 "clickhouses://",
		"clickhouses://h/m?ca=/nowhere/ca.pem":  "/nowhere/ca.pem",
		"clickhouses://h/m?ca=" + empty:         empty,
		"clickhouses://h/m?cert=/nowhere/c.pem": "cert and key",
		"clickhouse://h/m?read_timeout=0s":      "read_timeout",
		"clickhouse://h/m?dial_timeout=soon":    "dial_timeout",
		"clickhouse://h/m?replicated=perhaps":   "replicated",
		"clickhouse://h/m?cluster=a'b":          "cluster",
		"clickhouse://me@h/m?password_file=/x/": "password_file",
	} {
		_, err := Parse(setting)
		if err == nil || !strings.HasPrefix(err.Error(), Setting+": ") || !strings.Contains(err.Error(), word) {
			t.Errorf("%s: %v, want %s and %q", setting, err, Setting, word)
			continue
		}
		if strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "sec ret") {
			t.Errorf("%s: %v tells the password", setting, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, setting := range []string{
		"clickhouse://u:p@a:1,b/m?replicated=true&cluster=c", "https://h/m?ca=x", "http://[::1]:8123/m", "clickhouses://h/m?dial_timeout=1s", "clickhouse://@,/",
	} {
		f.Add(setting)
	}
	f.Fuzz(func(t *testing.T, setting string) {
		o, err := Parse(setting)
		if err != nil {
			if !strings.HasPrefix(err.Error(), Setting) {
				t.Errorf("%v does not name the setting", err)
			}
			return
		}
		if len(o.Addr) == 0 || !databaseName.MatchString(o.Database) || o.User == "" {
			t.Errorf("%q became %+v", setting, o)
		}
	})
}

// Whatever is wrong, the error is of its kind, names the setting, and keeps the password.
func TestOpenSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	const secret = "s3cret"
	server := clickhousetest.Own(t, engine.Options{Password: secret})
	good := at(server, "store")
	_, err := Migrate(t.Context(), good)
	must(t, err)
	for name, c := range map[string]struct {
		change func(o *Options)
		want   error
		word   string
	}{
		"password":                  {func(o *Options) { o.Password = secret + "x" }, ErrRefused, "password"},
		"user":                      {func(o *Options) { o.User = "nobody" }, ErrRefused, "user"},
		"database":                  {func(o *Options) { o.Database = "nowhere" }, ErrMissing, "mailbeacon admin migrate"},
		"nobody listens":            {func(o *Options) { o.Addr = []string{"127.0.0.1:1"} }, ErrAddress, "127.0.0.1:1"},
		"no such host":              {func(o *Options) { o.Addr = []string{"host.invalid:9000"} }, ErrAddress, "host.invalid"},
		"the other protocol's port": {func(o *Options) { o.Addr = []string{server.HTTP} }, ErrAddress, server.HTTP},
	} {
		for protocol, change := range protocols {
			t.Run(name+" over "+protocol, func(t *testing.T) {
				t.Parallel()
				o, word := change(server, good), c.word
				o.DialTimeout, o.ReadTimeout = 5*time.Second, 5*time.Second
				c.change(&o)
				if protocol == "http" && name == "the other protocol's port" {
					o.Addr, word = []string{server.Native}, server.Native
				}
				s, err := Open(t.Context(), o)
				if err == nil {
					s.Close()
				}
				if !errors.Is(err, c.want) || !strings.HasPrefix(err.Error(), Setting+" ") || !strings.Contains(err.Error(), word) {
					t.Fatalf("%v, want %v with %s and %q", err, c.want, Setting, word)
				}
				if strings.Contains(err.Error(), secret) {
					t.Errorf("%v tells the password", err)
				}
			})
		}
	}
}

// A user who may only read opens the store, reports, and is refused at the first commit.
func TestReaderMayNotCommit(t *testing.T) {
	t.Parallel()
	server := clickhousetest.Own(t, engine.Options{})
	o := at(server, "store")
	_, err := Migrate(t.Context(), o)
	must(t, err)
	o.User = "reader"
	for _, o := range []Options{o, overHTTP(server, o)} {
		s := open(t, o)
		if _, err := s.Counts(t.Context(), 1); err != nil {
			t.Error(err)
		}
		if err := s.Commit(t.Context(), step(0, 1, 1)); !errors.Is(err, ErrRefused) {
			t.Errorf("commit: %v, want %v", err, ErrRefused)
		}
		if _, err := Migrate(t.Context(), o); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), Setting) {
			t.Errorf("migrate: %v, want %v", err, ErrRefused)
		}
	}
}

func TestOldServerIsRefused(t *testing.T) {
	t.Parallel()
	for version, old := range map[string]bool{"18.16.1": true, "25.7.9": true, "25.8.1": false} {
		server := clickhousetest.Own(t, engine.Options{Version: version})
		o := at(server, "store")
		if _, err := Migrate(t.Context(), o); errors.Is(err, ErrOldServer) != old {
			t.Errorf("migrate on %s: %v", version, err)
		}
		o.Database = "system" // which is there without a migration
		_, err := Open(t.Context(), o)
		if errors.Is(err, ErrOldServer) != old || old && !strings.Contains(err.Error(), Setting) {
			t.Errorf("open on %s: %v", version, err)
		}
	}
}
