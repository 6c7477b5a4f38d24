package config

import (
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"pgregory.net/rapid"

	"mailbeacon/ingest/spool"
	"mailbeacon/internal/consent"
	"mailbeacon/internal/privacy"
)

func load(t *testing.T, args, environ []string) (*Config, error) {
	t.Helper()
	fs := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	Flags(fs, Serve)
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	return Load(fs, environ, Serve)
}

func write(t *testing.T, content string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "beacon.yaml")
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	got, err := load(t, nil, []string{"HOME=/nowhere"})
	if err != nil {
		t.Fatal(err)
	}
	want := &Config{
		Data: "mailbeacon-data", Listen: ":8080", Admin: "127.0.0.1:8081", Basis: consent.BasisSubject,
		ClassifyWindow: 15 * time.Second, CommitInterval: time.Second, HeldBytes: 512 << 20, SegmentBytes: spool.DefaultSegmentBytes,
		MaxConns: 16384, MaxConnsPerIP: 1024, StopTimeout: 10 * time.Second, ExportEvery: 24 * time.Hour,
		Epoch: 7 * 24 * time.Hour, Epsilon: privacy.Epsilon{Num: 1, Den: 1}, Budget: 208, LogFormat: LogText, LogLevel: slog.LevelInfo,
		Topics: "mailbeacon", Partitions: 12, Group: "mailbeacon", Compress: "lz4",
		OIDCRoleClaim: "groups", OIDCNameClaim: "preferred_username",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestFlagBeforeVariableBeforeFile(t *testing.T) {
	t.Parallel()
	file := write(t, "listen: 127.0.0.1:1\nadmin: 127.0.0.1:1\nbasis: none\ntrusted-proxies: [10.0.0.0/8, 192.0.2.7]\n")
	environ := []string{"MAILBEACON_CONFIG=" + file, "MAILBEACON_LISTEN=127.0.0.1:2", "MAILBEACON_ADMIN=127.0.0.1:2", "MAILBEACON_KEY=k", "MAILBEACON_SERVER=s", "MAILBEACON_ENGINES=e"}
	got, err := load(t, []string{"--listen", "127.0.0.1:3"}, environ)
	if err != nil {
		t.Fatal(err)
	}
	if got.Listen != "127.0.0.1:3" || got.Admin != "127.0.0.1:2" || got.Basis != consent.BasisNone {
		t.Errorf("got %s %s %s", got.Listen, got.Admin, got.Basis)
	}
	want := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.0.2.7/32")}
	if !reflect.DeepEqual(got.TrustedProxies, want) {
		t.Errorf("proxies %v", got.TrustedProxies)
	}
}

func TestEverySettingHasEverySource(t *testing.T) {
	t.Parallel()
	values := map[string]string{
		"data": "d", "listen": ":1", "admin": ":2", "public-url": "https://t.example", "basis": "none",
		"classify-window": "1s", "commit-interval": "2s", "held-bytes": "32MiB", "segment-bytes": "1MiB", "trusted-proxies": "10.0.0.0/8",
		"apple-egress": write(t, ""), "data-centres": write(t, ""), "max-conns": "7", "max-conns-per-ip": "8",
		"stop-timeout": "9s", "log-format": "json", "log-level": "debug",
		"kafka": "kafka://a", "clickhouse": "clickhouse://a/b", "keyring": write(t, ""), "topics": "other", "partitions": "3", "replicas": "2",
		"group": "others", "compression": "zstd", "preference-page": t.TempDir(),
		"export-folder": t.TempDir(), "export-every": "6h",
		"dashboard-url": "https://beacon.example", "oidc-issuer": "https://id.example", "oidc-client-id": "c", "oidc-client-secret-file": write(t, ""),
		"oidc-role-claim": "r", "oidc-roles": "a=admin", "oidc-name-claim": "n",
		"advertiser-epoch": "24h", "advertiser-epsilon": "1/2", "advertiser-budget": "10",
		"webhook": "https://mailer.example/hook", "webhook-secret": write(t, ""),
	}
	var args, environ, others []string
	var file strings.Builder
	for _, s := range Settings() {
		v, ok := values[s.Name]
		if !ok {
			t.Fatalf("no value for %s", s.Name)
		}
		if s.of(Serve) {
			args = append(args, "--"+s.Name+"="+v)
		} else { // what other roles have can come from where roles share settings
			others = append(others, s.Env()+"="+v)
		}
		environ = append(environ, s.Env()+"="+v)
		file.WriteString(s.Name + ": '" + v + "'\n")
	}
	byFlag, err := load(t, args, others)
	if err != nil {
		t.Fatal(err)
	}
	byEnv, err := load(t, nil, environ)
	if err != nil {
		t.Fatal(err)
	}
	byFile, err := load(t, []string{"--config", write(t, file.String())}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(byFlag, byEnv) || !reflect.DeepEqual(byFlag, byFile) {
		t.Errorf("flag %+v\nenv  %+v\nfile %+v", byFlag, byEnv, byFile)
	}
	v := reflect.ValueOf(*byFlag)
	for i := range v.NumField() {
		if v.Field(i).IsZero() {
			t.Errorf("no setting reaches %s", v.Type().Field(i).Name)
		}
	}
}

func TestRoles(t *testing.T) {
	t.Parallel()
	ring := write(t, "{}")
	for _, c := range []struct {
		role Role
		args []string
		says string // "": it is right
	}{
		{Edge, []string{"--kafka", "kafka://a", "--keyring", ring}, ""},
		{Edge, []string{"--keyring", ring}, "setting --kafka is not set; mailbeacon edge needs it"},
		{Edge, []string{"--kafka", "kafka://a"}, "setting --keyring is not set"},
		{Edge, []string{"--clickhouse", "clickhouse://a/b"}, "unknown flag: --clickhouse"},
		{Consume, []string{"--kafka", "kafka://a"}, "setting --clickhouse is not set"},
		{Consume, []string{"--kafka", "kafka://a", "--clickhouse", "clickhouse://a/b", "--group", "x y"}, "setting --group is \"x y\""},
		{Consume, []string{"--listen", ":1"}, "unknown flag: --listen"},
		{Admin, []string{"--kafka", "kafka://a", "--clickhouse", "clickhouse://a/b", "--keyring", ring, "--partitions", "0"}, "setting --partitions"},
		{Admin, []string{"--kafka", "kafka://a", "--clickhouse", "clickhouse://a/b", "--keyring", "/nowhere/ring"}, "setting --keyring can't be read"},
	} {
		fs := pflag.NewFlagSet(string(c.role), pflag.ContinueOnError)
		Flags(fs, c.role)
		err := fs.Parse(c.args)
		if err == nil {
			_, err = Load(fs, nil, c.role)
		}
		if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s %v: %v, want %q", c.role, c.args, err, c.says)
		}
	}
}

func TestWrongValuesAreNamed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, value, want string }{
		{"data", "", "is empty; right would be the name of a folder"},
		{"listen", "8080", "127.0.0.1:8080"},
		{"listen", "localhost:http", "127.0.0.1:8080"},
		{"listen", ":70000", "127.0.0.1:8080"},
		{"admin", "http://localhost:1", "127.0.0.1:8080"},
		{"public-url", "t.example.com", "right would be a scheme and a host"},
		{"dashboard-url", "https://t.example.com/path", "goes on after the host"},
		{"oidc-issuer", "http://id.example", "is not of https"},
		{"oidc-role-claim", "", "right would be a claim's name"},
		{"public-url", "ftp://t.example.com", "neither http nor https"},
		{"public-url", "https://t.example.com/path", "goes on after the host"},
		{"public-url", "https://t.example.com?", "goes on after the host"},
		{"public-url", "https://a:b@t.example.com", "user name"},
		{"public-url", "https://", "scheme and a host"},
		{"public-url", "https://bücher.example", "xn--"},
		{"public-url", `https://a"b.example`, "right would be"},
		{"basis", "all", `is "all"; right would be subject, aggregate or none`},
		{"basis", "", "right would be subject, aggregate or none"},
		{"classify-window", "15", `is "15"; right would be a number with its unit`},
		{"classify-window", "-1s", "right would be 0s to 10m0s"},
		{"classify-window", "11m", "right would be 0s to 10m0s"},
		{"commit-interval", "0s", "right would be 10ms to 1m0s"},
		{"segment-bytes", "64 megs", "KiB"},
		{"segment-bytes", "1KiB", "64KiB to 1GiB"},
		{"segment-bytes", "9223372036854775807GiB", "64KiB to 1GiB"},
		{"segment-bytes", "1073741825B", "64KiB to 1GiB"},
		{"segment-bytes", "-64MiB", "64KiB to 1GiB"},
		{"trusted-proxies", "10.0.0.0/8,x", `holds "x"`},
		{"trusted-proxies", "10.0.0.1/8", "right would be 10.0.0.0/8"},
		{"trusted-proxies", "0.0.0.0/0", "everybody"},
		{"apple-egress", "/nowhere/list.csv", "can't be read"},
		{"data-centres", "/", "a folder"},
		{"max-conns", "0", "a number from 1 to"},
		{"preference-page", "/nowhere/page", "can't be read"},
		{"preference-page", "/dev/null", "is no folder"},
		{"export-folder", "/nowhere/reports", "can't be read"},
		{"export-every", "1s", "1m0s to 168h0m0s"},
		{"advertiser-epoch", "1500ms", "whole seconds"},
		{"advertiser-epoch", "0s", "1s to 8784h0m0s"},
		{"advertiser-epsilon", "0", "a number above 0"},
		{"advertiser-epsilon", "1e3", "a number above 0"},
		{"advertiser-budget", "0", "a number from 1 to"},
		{"webhook", "http://mailer.example/hook", "is not of https"},
		{"webhook-secret", "/nowhere/secret", "can't be read"},
		{"max-conns-per-ip", "many", "a number from 1 to"},
		{"stop-timeout", "forever", "unit"},
		{"log-format", "xml", "text or json"},
		{"log-level", "INFO", "debug, info, warn or error"},
	} {
		t.Run(c.name+"="+c.value, func(t *testing.T) {
			t.Parallel()
			s := find(func(s *Setting) bool { return s.Name == c.name })
			for source, run := range map[string]func() (*Config, error){
				"--" + c.name: func() (*Config, error) { return load(t, []string{"--" + c.name + "=" + c.value}, nil) },
				s.Env():       func() (*Config, error) { return load(t, nil, []string{s.Env() + "=" + c.value}) },
				"beacon.yaml, line 2": func() (*Config, error) {
					return load(t, []string{"--config", write(t, "# x\n"+c.name+": '"+c.value+"'\n")}, nil)
				},
			} {
				_, err := run()
				var wrong *Error
				if !errors.As(err, &wrong) {
					t.Fatalf("%s: got %v", source, err)
				}
				if wrong.Setting != c.name || wrong.Source != source || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%s: got %q, want it to hold %q", source, err, c.want)
				}
			}
		})
	}
}

// What is allowed here must not be refused by the spool later.
func TestSegmentBytesFitTheSpool(t *testing.T) {
	t.Parallel()
	for _, v := range []string{"64KiB", "8MiB", "1GiB"} {
		got, err := load(t, []string{"--segment-bytes", v}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got.SegmentBytes < spool.MinSegmentBytes || got.SegmentBytes > spool.MaxSegmentBytes {
			t.Errorf("%s: the spool takes %d to %d bytes", v, spool.MinSegmentBytes, spool.MaxSegmentBytes)
		}
	}
}

func TestUnknownSettingsStopTheStart(t *testing.T) {
	t.Parallel()
	_, err := load(t, nil, []string{"MAILBEACON_LISTN=:1"})
	if err == nil || err.Error() != "setting MAILBEACON_LISTN is unknown; did you mean MAILBEACON_LISTEN?" {
		t.Errorf("variable: %v", err)
	}
	_, err = load(t, nil, []string{"MAILBEACON_ZZZZZZZZZZZZZZZZ=1"})
	if err == nil || !strings.Contains(err.Error(), "--help") {
		t.Errorf("far-off variable: %v", err)
	}
	_, err = load(t, []string{"--config", write(t, "data: d\nclasify-window: 15s\n")}, nil)
	if err == nil || err.Error() != "setting clasify-window (from beacon.yaml, line 2) is unknown; did you mean classify-window?" {
		t.Errorf("file: %v", err)
	}
}

func TestKubernetesServiceLinksAreNoSettings(t *testing.T) {
	t.Parallel()
	_, err := load(t, nil, []string{
		"MAILBEACON_SERVICE_HOST=10.0.0.1", "MAILBEACON_SERVICE_PORT=80", "MAILBEACON_SERVICE_PORT_HTTP=80",
		"MAILBEACON_PORT=tcp://10.0.0.1:80", "MAILBEACON_PORT_80_TCP_ADDR=10.0.0.1",
	})
	if err != nil {
		t.Error(err)
	}
	if _, err := load(t, nil, []string{"MAILBEACON_PORT=8080"}); err == nil {
		t.Error("a port that somebody set by hand was passed over")
	}
}

func TestBadFiles(t *testing.T) {
	t.Parallel()
	for content, want := range map[string]string{
		"- listen":                  "right would be lines as",
		"listen: [":                 "beacon.yaml",
		"listen: :1\nlisten: :2":    "second time",
		"listen: {host: a}":         "holds a structure",
		"trusted-proxies: ['1,2']":  "holds a structure",
		"data: a\n---\ndata: b\n":   "more than one document",
		"listen:\n":                 "setting listen (from beacon.yaml, line 1)",
		"trusted-proxies: [[a], b]": "holds a structure",
	} {
		if _, err := load(t, []string{"--config", write(t, content)}, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", content, err, want)
		}
	}
	for _, content := range []string{"", "# nothing\n", "---\n"} {
		if _, err := load(t, []string{"--config", write(t, content)}, nil); err != nil {
			t.Errorf("%q: %v", content, err)
		}
	}
	if _, err := load(t, []string{"--config", "/nowhere/x.yaml"}, nil); err == nil || !strings.Contains(err.Error(), "/nowhere/x.yaml") {
		t.Errorf("missing file: %v", err)
	}
	if _, err := load(t, []string{"--config", ""}, nil); err == nil {
		t.Error("an empty --config was passed over")
	}
}

func TestPublicURLIsKeptWithoutSlash(t *testing.T) {
	t.Parallel()
	got, err := load(t, []string{"--public-url", "https://T.Example.com:8443/"}, nil)
	if err != nil || got.PublicURL != "https://t.example.com:8443" {
		t.Errorf("got %q, %v", got.PublicURL, err)
	}
}

func TestLocalURL(t *testing.T) {
	t.Parallel()
	for addr, want := range map[string]string{
		"[::]:8080": "http://localhost:8080", "127.0.0.1:1": "http://localhost:1",
		"192.0.2.7:80": "http://192.0.2.7:80", "[2001:db8::1]:80": "http://[2001:db8::1]:80",
	} {
		if got := LocalURL(net.TCPAddrFromAddrPort(netip.MustParseAddrPort(addr))); got != want {
			t.Errorf("%s: got %s, want %s", addr, got, want)
		}
	}
}

func TestDocShowsEverySetting(t *testing.T) {
	t.Parallel()
	doc := Doc()
	for _, s := range Settings() {
		if !strings.Contains(doc, "`--"+s.Name+" ") || !strings.Contains(doc, "`"+s.Env()+"`") || s.Doc == "" || s.Kind == "" {
			t.Errorf("%s is not told of:\n%s", s.Name, doc)
		}
	}
	if n := strings.Count(doc, "\n"); n != len(settings)+3 {
		t.Errorf("%d lines for %d settings", n, len(settings))
	}
}

// Sizes that are printed are read back as the same.
func TestSizesRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64Range(1, 8<<30).Draw(t, "n")
		var got int64
		if reason := size(&got, sizeText(n), 1, 8<<30); reason != "" || got != n {
			t.Fatalf("%s: got %d %s", sizeText(n), got, reason)
		}
	})
}

func FuzzReadYAML(f *testing.F) {
	f.Add([]byte("listen: ':1'\ntrusted-proxies: [a, b]\n"))
	f.Add([]byte("a: &x 1\nb: *x\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		values, err := readYAML("x.yaml", content)
		for name := range values {
			if err != nil || find(func(s *Setting) bool { return s.Name == name }) == nil {
				t.Errorf("%q with error %v", name, err)
			}
		}
	})
}

// TestFlagsOfACommand: a command takes some of the roles' settings, from where the roles take them, and needs none.
func TestFlagsOfACommand(t *testing.T) {
	t.Parallel()
	fs := pflag.NewFlagSet("", pflag.ContinueOnError)
	FlagsOf(fs, "kafka", "topics")
	if fs.Lookup("clickhouse") != nil || fs.Lookup("data") != nil {
		t.Error("there are flags that nobody asked for")
	}
	if err := fs.Parse([]string{"--kafka", "kafka://a:1"}); err != nil {
		t.Fatal(err)
	}
	c, err := Load(fs, []string{"MAILBEACON_TOPICS=other", "MAILBEACON_KAFKA=kafka://b:1", "MAILBEACON_CLICKHOUSE=clickhouse://c/d"}, "")
	if err != nil || c.Kafka != "kafka://a:1" || c.Topics != "other" || c.ClickHouse != "clickhouse://c/d" {
		t.Errorf("%+v, %v", c, err)
	}
	if _, err := Load(fs, []string{"MAILBEACON_TOPICS=/"}, ""); err == nil {
		t.Error("a wrong setting is taken")
	}
}
