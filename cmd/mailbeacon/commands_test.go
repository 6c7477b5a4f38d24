package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"mailbeacon/internal/config"
)

// shell runs commands against one data folder.
type shell struct {
	t    testing.TB
	data string
}

// serving starts a server for the test's length and returns what runs commands against it.
func serving(t *testing.T) *shell {
	t.Helper()
	b := &shell{t, filepath.Join(t.TempDir(), "data")}
	t.Cleanup(b.boot())
	return b
}

// boot starts a server in this process, with more flags, and returns what stops it.
func (b *shell) boot(flags ...string) (stop func()) {
	b.t.Helper()
	fs := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	config.Flags(fs, config.Serve)
	flags = append([]string{"--data", b.data, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--classify-window", "50ms", "--commit-interval", "10ms"}, flags...)
	if err := fs.Parse(flags); err != nil {
		b.t.Fatal(err)
	}
	cfg, err := config.Load(fs, nil, config.Serve)
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- serve(ctx, &cli{stdout: io.Discard, stderr: io.Discard, env: noEnv}, cfg) }()
	stop = func() {
		cancel()
		if err := <-ended; err != nil {
			b.t.Errorf("the server ended with %v", err)
		}
	}
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(filepath.Join(b.data, edgeAddrFile)); err != nil {
			continue
		}
		if _, _, code := b.run("", "campaign", "list"); code == exitOK {
			return stop
		}
	}
	stop()
	b.t.Fatal("the server does not come up")
	return nil
}

func noEnv(string) string { return "" }

// run runs a command in the data folder.
func (b *shell) run(stdin string, args ...string) (stdout, stderr string, code int) {
	b.t.Helper()
	var out, errs bytes.Buffer
	c := &cli{stdout: &out, stderr: &errs, stdin: strings.NewReader(stdin), env: func(name string) string {
		if name == "MAILBEACON_DATA" {
			return b.data
		}
		return ""
	}}
	code = c.execute(b.t.Context(), newRootCommand(c), args)
	return out.String(), errs.String(), code
}

// TestCommands goes through the commands in the order in which a person would.
func TestCommands(t *testing.T) {
	b := serving(t)
	html := filepath.Join(t.TempDir(), "mail.html")
	if err := os.WriteFile(html, []byte(`<p><a href="https://example.com/">x</a></p>`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args  string
		stdin string
		code  int
		says  string // on stdout, or stderr where code is not 0
	}{
		{"campaign add spring --title Spring", "", 0, "campaign spring is number "},
		{"campaign add spring", "", 1, "exists"},
		{"campaign add Spring!", "", 2, "name"},
		{"campaign list", "", 0, "Spring"},
		{"campaign show spring", "", 0, "number"},
		{"campaign show winter", "", 1, "no such campaign"},
		{"campaign", "", 2, "needs a subcommand: add, list, mail, show"},
		{"campaign remove spring", "", 2, `no subcommand "remove"`},
		{"link add spring https://example.com/a --label A", "", 0, "1"},
		{"link add spring javascript:alert(1)", "", 2, "http"},
		{"link list spring", "", 0, "https://example.com/a"},
		{"link set spring 1 https://example.com/b", "", 0, ""},
		{"link set spring 9 https://example.com/b", "", 1, ""},
		{"message render spring --to ann@example.com --html " + html, "", 0, "/o/"},
		{"message render spring --to - --html " + html, "ann@example.com\n", 0, "/o/"},
		{"message render spring --html " + html, "", 2, "needs --to"},
		{"message render spring --to ann@example.com", "", 2, "--html"},
		{"message render spring --to nobody --html " + html, "", 2, "to has no @"},
		{"message render spring --to ann@example.com --html /nowhere.html", "", 2, "/nowhere.html"},
		{"message recipients spring", `{"to":"ann@example.com"}` + "\n", 0, "pixel_url"},
		{"delivery add spring --id one --delivered 10", "", 0, "10 delivered"},
		{"delivery add spring --delivered 10", "", 2, "needs --id"},
		{"consent set ann@example.com --opens refused", "", 0, "in effect"},
		{"consent set ann@example.com", "", 2, "name what was decided"},
		{"consent set ann@example.com --opens maybe", "", 2, "mailbeacon: unprocessable entity: opens is not granted or refused\n`mailbeacon"},
		{"consent show ann@example.com", "", 0, "opens unset -> refused"},
		{"consent show ann@example.com", "", 0, "key:(admin.key)"},
		{"consent set ann@example.com --tracking date-only", "", 0, "in effect"},
		{"consent set ann@example.com --tracking never", "", 2, "tracking"},
		{"consent show ann@example.com", "", 0, "tracking full -> date-only"},
		{"campaign add dates --date-only", "", 0, "campaign dates"},
		{"campaign add never --date-only=foo", "", 2, `mailbeacon: --date-only is true or false, and true where it stands alone; it is "foo"` + "\n"},
		{"spool fill --links many", "", 2, `--links is a number; it is "many"`},
		{"campaign show dates", "", 0, "yes"},
		{"campaign list", "", 0, "DATE ONLY"},
		{"consent export ann@example.com", "", 0, "mailbeacon consent receipt 1"},
		{"consent import -", "subject,opens\nbob@example.com,refused\n", 0, "1 decision recorded\n1 receipt: mailbeacon consent export ADDRESS"},
		{"consent import -", "subject,opens\nbob@example.com,refused\n", 0, "1 receipt: mailbeacon consent export ADDRESS"},
		{"consent import -", "subject,opens\nbob@example.com,refused\n", 0, "1 was recorded already"},
		{"consent import -", "\ufeffSubject,Opens\r\n\"cem@example.com\",refused\r\ncem,refused\r\n", 1, "line 3: subject has no @"},
		{"consent import -", "subject,opens,phone\nbob@example.com,refused,1\n", 2, "column phone"},
		{"consent import -", `{"subject":"dan@example.com","clicks":"refused"}` + "\n", 0, "1 decision recorded"},
		{"consent import -", "subject,opens\ndora@example.com,refused\nemil@example.com,refused\ncem,refused\n", 1, "mailbeacon: 1 line can't be used\n"},
		{"consent import /nowhere.csv", "", 2, "/nowhere.csv"},
		{"consent verify /nowhere", "", 2, "--public-key"},
		{"keyring public", "", 0, "mailbeacon-receipt-key 1 "},
		{"message render spring --to ann@example.com --html " + html, "", 0, "/c/"},
		{"report spring", "", 0, "10 delivered"},
		{"report spring --csv", "", 0, "delivered"},
		{"report spring --csv --json", "", 2, "exclude each other"},
		{"report winter", "", 1, "no such campaign"},
		{"key add mailer", "", 2, "--role"},
		{"key add mailer --role queen", "", 2, "sender"},
		{"key add mailer --role sender", "", 0, ""},
		{"key list", "", 0, "mailer"},
		{"key list --data /nowhere", "", 1, "there is no data folder /nowhere; name the server's with --data"},
		{"key add more --role sender --data /nowhere", "", 1, "there is no data folder /nowhere; name the server's with --data"},
		{"key revoke mailer --data " + html, "", 1, "mail.html is no folder"},
		{"topic show", "", 2, "--kafka is not set"},
		{"topic show --kafka kafka://127.0.0.1:1", "", 2, "--clickhouse is not set"},
		{"key revoke mailer", "", 0, "revoked"},
		{"key revoke mailer", "", 1, "mailer"},
		{"keyring list", "", 0, "active"},
		{"keyring rotate", "", 0, "key 2 is active"},
		{"keyring retire 1", "no\n", 2, "not confirmed"},
		{"keyring retire 2 --yes", "", 1, "active"},
		{"keyring retire one", "", 2, "no key's number"},
		{"keyring retire 1", "1\n", 0, "key 1 is retired"},
		{"doctor", "", 0, "ready"},
		{"spool dump " + b.data + "/spool", "", 0, "segment"},
		{"spool dump /nowhere", "", 1, "/nowhere"},
		{"spool dump /nowhere/shipped.cursor", "", 1, "/nowhere"},
		{"version", "", 0, "mailbeacon"},
		{"report spring --server http://127.0.0.1:1", "", 1, "no answer"},
		{"report spring --key wrong", "", 1, ""},
		{"report spring --nonsense", "", 2, "nonsense"},
		{"nonsense", "", 2, "nonsense"},
	} {
		stdout, stderr, code := b.run(c.stdin, strings.Fields(c.args)...)
		where := stdout
		if c.code != 0 {
			where = stderr
		}
		if code != c.code || !strings.Contains(where, c.says) {
			t.Errorf("%s: exit code %d, want %d with %q; it said:\n%s%s", c.args, code, c.code, c.says, stdout, stderr)
		}
	}
}

// TestRenderWarns: what the sender should know stands on stderr, and stdout holds the mail alone.
func TestRenderWarns(t *testing.T) {
	b := serving(t)
	b.run("", "campaign", "add", "spring")
	b.run("", "campaign", "add", "dates", "--date-only")
	if _, stderr, _ := b.run("<p>Hello</p>", "message", "render", "dates", "--to", "ann@example.com", "--html", "-"); !strings.Contains(stderr, "though not in full: date_only") {
		t.Errorf("of a campaign that keeps dates alone: %s", stderr)
	}
	eml := "List-Unsubscribe: <https://old.example/u>, <mailto:u@old.example>\r\nContent-Type: text/html\r\n\r\n" +
		`<body><a href="https://old.example/u">leave</a></body>`
	stdout, stderr, code := b.run(eml, "message", "render", "spring", "--to", "ann@example.com", "--eml", "-")
	if code != exitOK || !strings.Contains(stderr, "warning: the web address in the mail's own List-Unsubscribe gave way") {
		t.Errorf("exit code %d, stderr %s", code, stderr)
	}
	if strings.Contains(stdout, "warning") || !strings.Contains(stdout, "<mailto:u@old.example>") || !strings.Contains(stdout, `href="https://old.example/u"`) {
		t.Errorf("stdout %s", stdout)
	}
}

// TestJSON asks everything that prints for JSON.
func TestJSON(t *testing.T) {
	b := serving(t)
	for _, args := range []string{
		"campaign add spring --json", "campaign list --json", "campaign show spring --json",
		"link add spring https://example.com/ --json", "link list spring --json", "link set spring 1 https://example.com/b --json",
		"delivery add spring --id one --delivered 1 --json", "consent set ann@example.com --clicks granted --json",
		"consent show ann@example.com --json", "consent export ann@example.com", "keyring public --json", "report spring --json", "key add mailer --role privacy --json", "key list --json",
		"key revoke mailer --json", "keyring rotate --json", "keyring list --json", "keyring retire 1 --yes --json",
		"doctor --json", "version --json",
	} {
		stdout, stderr, code := b.run("", strings.Fields(args)...)
		if code != exitOK || !json.Valid([]byte(stdout)) {
			t.Errorf("%s: exit code %d, %q, %s", args, code, stdout, stderr)
		}
	}
}

// TestReceipt: what a change is answered with can be checked without a server, also once its key is retired.
func TestReceipt(t *testing.T) {
	b := serving(t)
	dir := t.TempDir()
	receipt, keys := filepath.Join(dir, "ann.receipt"), filepath.Join(dir, "receipts.pub")
	do := func(want int, stdin string, args ...string) string {
		t.Helper()
		stdout, stderr, code := b.run(stdin, args...)
		if code != want {
			t.Fatalf("%v: exit code %d, want %d: %s%s", args, code, want, stdout, stderr)
		}
		return stdout
	}
	do(0, "", "consent", "set", "Ann@Example.com", "--opens", "refused", "--receipt", receipt)
	do(0, "", "keyring", "rotate")
	do(0, "", "keyring", "retire", "1", "--yes")
	if err := os.WriteFile(keys, []byte(do(0, "", "keyring", "public")), 0o600); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(receipt)
	if err != nil || strings.Contains(strings.ToLower(string(text)), "ann@") {
		t.Fatalf("%v\n%s", err, text)
	}
	if said := do(0, "", "consent", "verify", receipt, "--public-key", keys); !strings.Contains(said, "verified: subject ") {
		t.Error(said)
	}
	if said := do(0, "Dear Ann,\r\n\r\n"+strings.ReplaceAll(string(text), "\n", "\r\n")+"\r\nYours", "consent", "verify", "-", "--public-key", keys); !strings.Contains(said, "\n  opens: refused\n") {
		t.Errorf("a receipt in a mail: %s", said)
	}
	do(2, string(text)+string(text), "consent", "verify", "-", "--public-key", keys)
	if said := do(0, string(text), "consent", "verify", "-", "--public-key", keys, "--json"); !strings.Contains(said, `"verified": true`) {
		t.Error(said)
	}
	do(1, strings.Replace(string(text), "refused", "granted", 1), "consent", "verify", "-", "--public-key", keys)
	do(2, "", "consent", "verify", receipt, "--public-key", receipt)
	// The export has the receipt of every change, page's and import's too; by now under the other key.
	var all struct {
		History []struct{ Receipt string }
	}
	if err := json.Unmarshal([]byte(do(0, "", "consent", "export", "ann@example.com")), &all); err != nil || len(all.History) != 1 {
		t.Fatalf("%+v, %v", all, err)
	}
	do(0, all.History[0].Receipt, "consent", "verify", "-", "--public-key", keys)
	do(0, do(0, "", "consent", "export", "ann@example.com"), "consent", "verify", "-", "--public-key", keys)
}

// TestDoctor looks at folders that are not well.
func TestDoctor(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		spoil func(data string) error
		says  string
	}{
		{"nothing there", os.RemoveAll, "not a mailbeacon data folder"},
		{"newer", func(d string) error { return os.WriteFile(filepath.Join(d, "VERSION"), []byte("9\n"), 0o600) }, "newer mailbeacon"},
		{"open keyring", func(d string) error { return os.Chmod(filepath.Join(d, keyringFile), 0o644) }, "others can read it"},
		{"no control log", func(d string) error { return os.Remove(filepath.Join(d, controlFile)) }, controlFile},
		{"damaged counts", func(d string) error { return os.WriteFile(filepath.Join(d, countsFile), []byte("nonsense"), 0o600) }, "damaged"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := stoppedFolder(t)
			if out, stderr, code := b.run("", "doctor"); code != exitOK {
				t.Fatalf("a folder that is well: %s%s", out, stderr)
			}
			if err := c.spoil(b.data); err != nil {
				t.Fatal(err)
			}
			if out, stderr, code := b.run("", "doctor"); code != exitFailure || !strings.Contains(out, c.says) {
				t.Errorf("exit code %d, want %q:\n%s%s", code, c.says, out, stderr)
			}
		})
	}
}

// stoppedFolder is a folder that a server made and left.
func stoppedFolder(t *testing.T) *shell {
	t.Helper()
	b := &shell{t, filepath.Join(t.TempDir(), "data")}
	b.boot()()
	return b
}

// TestReady asks a server that serves, and a folder that one has left.
func TestReady(t *testing.T) {
	t.Parallel()
	b := &shell{t, filepath.Join(t.TempDir(), "data")}
	if _, stderr, code := b.run("", "ready"); code != exitFailure || !strings.Contains(stderr, "nothing runs in data folder") {
		t.Errorf("no folder: exit code %d, %s", code, stderr)
	}
	stop := b.boot()
	if out, stderr, code := b.run("", "ready"); code != exitOK || out != "ready\n" {
		t.Errorf("a server that serves: exit code %d, %s%s", code, out, stderr)
	}
	stop()
	if out, _, code := b.run("", "ready"); code != exitFailure || out != "" {
		t.Errorf("a server that stopped: exit code %d, %s", code, out)
	}
}

// TestKeyringIfMissing makes a keyring once, and keeps one that is there only where it is good.
func TestKeyringIfMissing(t *testing.T) {
	t.Parallel()
	b, file := &shell{t: t}, filepath.Join(t.TempDir(), "keyring.json")
	if out, stderr, code := b.run("", "keyring", "create", file, "--if-missing"); code != exitOK || !strings.HasPrefix(out, "made ") {
		t.Fatalf("the first: exit code %d, %s%s", code, out, stderr)
	}
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if out, stderr, code := b.run("", "keyring", "create", file, "--if-missing"); code != exitOK || !strings.Contains(out, "stays") {
		t.Errorf("the second: exit code %d, %s%s", code, out, stderr)
	}
	if _, _, code := b.run("", "keyring", "create", file); code != exitFailure {
		t.Errorf("without the flag: exit code %d", code)
	}
	if after, err := os.ReadFile(file); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the keyring changed: %v", err)
	}
	if err := os.WriteFile(file, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, code := b.run("", "keyring", "create", file, "--if-missing"); code != exitFailure {
		t.Errorf("a damaged one: exit code %d", code)
	}
}

// TestDoctorKnowsRoles looks at the folder of a role, which has neither keys nor databases.
func TestDoctorKnowsRoles(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		role string
		code int
		says []string
	}{
		{"edge", exitOK, []string{"mailbeacon edge", "spool"}},
		{"consume", exitOK, []string{"mailbeacon consume"}},
		{"admin", exitFailure, []string{"WRONG  admin key"}}, // it has none yet
		{"beekeeper", exitFailure, []string{"does not know"}},
	} {
		b := &shell{t, filepath.Join(t.TempDir(), "data")}
		dir, err := openFolder(b.data, config.Role(c.role))
		if err != nil {
			t.Fatal(err)
		}
		if err := dir.Close(); err != nil {
			t.Fatal(err)
		}
		out, stderr, code := b.run("", "doctor")
		if code != c.code {
			t.Errorf("%s: exit code %d\n%s%s", c.role, code, out, stderr)
		}
		for _, says := range c.says {
			if !strings.Contains(out, says) {
				t.Errorf("%s: no %q in\n%s", c.role, says, out)
			}
		}
	}
}

// TestServeRefusesRoles: a consumer's folder looks like one that was never used.
func TestServeRefusesRoles(t *testing.T) {
	t.Parallel()
	for _, role := range []config.Role{config.Edge, config.Consume, config.Admin} {
		path := filepath.Join(t.TempDir(), "data")
		dir, err := openFolder(path, role)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(wholeFolder(dir), dir.Close()); err == nil || !strings.Contains(err.Error(), "belongs to mailbeacon "+string(role)) {
			t.Errorf("a folder of %s: %v", role, err)
		}
	}
}
