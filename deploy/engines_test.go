package deploy_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"mailbeacon/internal/engines"
	"mailbeacon/internal/engines/clickhouse"
	"mailbeacon/internal/engines/clickhouse/clickhousetest"
	"mailbeacon/internal/engines/kafka"
	"mailbeacon/internal/engines/kafka/kafkatest"
)

// source is the text of all of a package's files.
func source(t *testing.T, folder string) string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join("..", folder, "*.go"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("%s: %d files, %v", folder, len(paths), err)
	}
	var b strings.Builder
	for _, path := range paths {
		if !strings.HasSuffix(path, "_test.go") {
			b.WriteString(text(t, path))
		}
	}
	return b.String()
}

// matches are what the first group of a pattern fits in a text.
func matches(text, pattern string) []string {
	var all []string
	for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		all = append(all, m[1])
	}
	return all
}

// TestEnginesPageIsWhole finds every setting of topics and inserts on the page, and every metric of the
// page in the program.
func TestEnginesPageIsWhole(t *testing.T) {
	t.Parallel()
	page := text(t, "ENGINES.md")
	topics := matches(source(t, "ingest/kafka"), `(?:exactly|[aA]tLeast)\("([a-z.]+)"`)
	_, inserts, _ := strings.Cut(source(t, "ingest/clickhouse"), "func insertSettings(")
	inserts, _, _ = strings.Cut(inserts, "\n}\n")
	settings := matches(inserts, `"([a-z]+_[a-z_]+)"`)
	if len(topics) < 8 || len(settings) < 10 {
		t.Fatalf("found the topics' %q and the inserts' %q", topics, settings)
	}
	for _, name := range append(topics, settings...) {
		if !strings.Contains(page, "`"+name+"`") {
			t.Errorf("the page lacks %s", name)
		}
	}
	commands := source(t, "cmd/mailbeacon")
	metrics := matches(page, "`mailbeacon_([a-z_]+)`")
	for _, name := range metrics {
		if !strings.Contains(commands, `"`+name+`"`) {
			t.Errorf("there is no metric mailbeacon_%s", name)
		}
	}
	if len(metrics) < 15 {
		t.Errorf("only %d metrics found", len(metrics))
	}
}

// secured is a broker that lets in users by name, and gives none of them any right.
func secured(t *testing.T, users ...string) *kafka.Broker {
	t.Helper()
	var known strings.Builder
	for _, u := range users {
		fmt.Fprintf(&known, ` user_%s="%s-secret"`, u, u)
	}
	return kafkatest.Own(t, kafka.Options{Secure: true, Properties: []string{
		"listener.name.sasl_ssl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required" + known.String() + ";",
	}})
}

// grant runs the page's lines about rights, by Kafka's own program.
func grant(t *testing.T, b *kafka.Broker) {
	t.Helper()
	lines := matches(text(t, "ENGINES.md"), `(?m)^kafka-acls\.sh (.*)$`)
	if len(lines) == 0 {
		t.Fatal("the page has no lines about rights")
	}
	lib := filepath.Join(os.Getenv(kafka.HomeVariable), "libs")
	if os.Getenv(kafka.HomeVariable) == "" {
		cache, err := engines.Cache()
		if err != nil {
			t.Fatal(err)
		}
		all, err := filepath.Glob(filepath.Join(cache, "kafka-[0-9]*"))
		if err != nil || len(all) == 0 {
			t.Fatalf("no Kafka in %s: %v", cache, err)
		}
		lib = all[len(all)-1]
	}
	for _, line := range lines {
		line = strings.Replace(strings.Replace(line, " --command-config $C", "", 1), "$K", b.Addr(), 1)
		args := append([]string{"-cp", lib + "/*", "-XX:TieredStopAtLevel=1", "org.apache.kafka.tools.AclCommand"}, strings.Fields(line)...)
		if out, code := run(t.Context(), t, "", environ(), "java", args...); code != 0 || !strings.Contains(out, "Adding ACLs") {
			t.Fatalf("kafka-acls.sh %s: exit code %d\n%s", line, code, out)
		}
	}
}

// begin starts a role and waits until it is ready; it ends with the test.
func begin(t *testing.T, role, data string, settings ...string) {
	t.Helper()
	log := filepath.Join(t.TempDir(), role+".log")
	file, err := os.Create(log)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	cmd := exec.Command(program(t), append([]string{role, "--data", data, "--admin", "127.0.0.1:0"}, settings...)...)
	cmd.Env, cmd.Stderr = environ(), file
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }() // how it ended is in its log
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		select {
		case <-ended:
		case <-time.After(time.Minute):
			_ = cmd.Process.Kill()
			<-ended
			t.Errorf("%s does not stop:\n%s", role, text(t, log))
		}
	})
	last := ""
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		var code int
		if last, code = run(t.Context(), t, "", environ(), program(t), "ready", "--data", data); code == 0 {
			return
		}
		select {
		case <-ended:
			t.Fatalf("%s ended:\n%s", role, text(t, log))
		default:
		}
	}
	t.Fatalf("%s is not ready: %s\n%s", role, last, text(t, log))
}

// TestRightsAreEnough gives each role what the page says and nothing else, on a real broker, and counts
// an open through all of them.
func TestRightsAreEnough(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts a whole cluster")
	}
	t.Parallel()
	broker := secured(t, "mailbeacon-edge", "mailbeacon-consume", "mailbeacon-admin")
	store := clickhousetest.Own(t, clickhouse.Options{Password: "store-secret"})
	dir := t.TempDir()
	ca, password, keyring := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "clickhouse.password"), filepath.Join(dir, "keyring.json")
	for path, content := range map[string]string{ca: string(broker.CA()), password: store.Password + "\n"} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	setting := func(role string) string {
		return fmt.Sprintf("--kafka=kafkas://mailbeacon-%s:mailbeacon-%s-secret@%s?sasl=PLAIN&ca=%s", role, role, broker.SASLAddr(), ca)
	}
	tables := fmt.Sprintf("--clickhouse=clickhouse://default@%s/mailbeacon?password_file=%s", store.Native, password)
	do := func(args ...string) string {
		t.Helper()
		out, code := run(t.Context(), t, dir, environ("MAILBEACON_DATA="+filepath.Join(dir, "admin")), program(t), args...)
		if code != 0 {
			t.Fatalf("mailbeacon %v: exit code %d\n%s", args, code, out)
		}
		return out
	}
	do("keyring", "create", keyring)
	do("admin", "migrate", tables)
	if out, code := run(t.Context(), t, dir, environ(), program(t), "admin", "--data", filepath.Join(dir, "early"), "--admin", "127.0.0.1:0",
		setting("admin"), tables, "--keyring", keyring, "--public-url", "http://t.example"); code == 0 || !strings.Contains(out, "mailbeacon-admin") || !strings.Contains(out, "may not") {
		t.Errorf("an admin without any right: exit code %d\n%s", code, out)
	}
	grant(t, broker)

	begin(t, "admin", filepath.Join(dir, "admin"), setting("admin"), tables, "--keyring", keyring, "--public-url", "http://t.example")
	begin(t, "edge", filepath.Join(dir, "edge"), setting("edge"), "--keyring", keyring, "--listen", "127.0.0.1:0")
	begin(t, "consume", filepath.Join(dir, "consume"), setting("consume"), tables, "--classify-window", "100ms", "--commit-interval", "50ms")

	do("campaign", "add", "spring")
	if err := os.WriteFile(filepath.Join(dir, "mail.html"), []byte("<p>Hello!</p>"), 0o600); err != nil {
		t.Fatal(err)
	}
	mail := do("message", "render", "spring", "--to", "ann@example.com", "--html", "mail.html")
	pixel := regexp.MustCompile(`http://t\.example(/o/[^"]+)"`).FindStringSubmatch(mail)
	if pixel == nil {
		t.Fatalf("no pixel in\n%s", mail)
	}
	public := strings.TrimSpace(text(t, filepath.Join(dir, "edge", "edge.addr")))
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		visit(t, "http://"+public+pixel[1], 200)
		var report struct{ Opens struct{ Total uint64 } }
		if err := json.Unmarshal([]byte(do("report", "spring", "--json")), &report); err != nil {
			t.Fatal(err)
		}
		if report.Opens.Total > 0 {
			leave(t, do, public)
			return
		}
	}
	t.Error("no open is counted")
}

// leave unsubscribes at an edge, and asks the admin whether it knows of it.
func leave(t *testing.T, do func(args ...string) string, public string) {
	t.Helper()
	page := regexp.MustCompile(`http://t\.example(/u/[\w-]+)`).FindStringSubmatch(do("message", "render", "spring", "--to", "ann@example.com", "--html", "mail.html", "--json"))
	if page == nil {
		t.Fatal("no address to unsubscribe at")
	}
	resp, err := http.PostForm("http://"+public+page[1], url.Values{"List-Unsubscribe": {"One-Click"}})
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("unsubscribing at an edge: status %d", resp.StatusCode)
	}
	if out := do("consent", "show", "ann@example.com", "--json"); !strings.Contains(out, `"unsubscribed":true`) && !strings.Contains(out, `"unsubscribed": true`) {
		t.Errorf("the admin knows nothing of it: %s", out)
	}
}
