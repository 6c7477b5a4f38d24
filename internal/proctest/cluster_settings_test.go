package proctest

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mailbeacon/internal/engines/clickhouse"
	"mailbeacon/internal/engines/clickhouse/clickhousetest"
	"mailbeacon/internal/engines/kafka"
	"mailbeacon/internal/engines/kafka/kafkatest"
)

// Secrets of TestWrongSettings, which nobody may print.
const (
	storePassword = "store-hunter2"
	wrongPassword = "wrong-hunter3"
)

// wrongSettings are what the roles are given in TestWrongSettings, and what is right of it.
type wrongSettings struct {
	t                              *testing.T
	dir                            string
	kafka, nobody, stranger, noTLS string
	store                          *clickhouse.Server
	keyring, otherKeyring          string
}

// database is the setting for one of the store's.
func (w *wrongSettings) database(name string) string {
	return w.login(storePassword, w.store.Native, name)
}

func (w *wrongSettings) login(password, addr, name string) string {
	return fmt.Sprintf("clickhouse://default:%s@%s/%s", password, addr, name)
}

func newWrongSettings(t *testing.T) *wrongSettings {
	t.Helper()
	broker := kafkatest.Own(t, kafka.Options{Secure: true})
	w := &wrongSettings{t: t, dir: t.TempDir(), store: clickhousetest.Own(t, clickhouse.Options{Password: storePassword})}
	ca := filepath.Join(w.dir, "ca.pem")
	w.keyring, w.otherKeyring = filepath.Join(w.dir, "keyring.json"), filepath.Join(w.dir, "other.json")
	for path, content := range map[string][]byte{ca: broker.CA(), w.otherKeyring: []byte("{}")} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	sasl := func(user, password string) string {
		return fmt.Sprintf("kafkas://%s:%s@%s?sasl=PLAIN&ca=%s", user, password, broker.SASLAddr(), ca)
	}
	nobody := kafka.Users()[1]
	w.kafka, w.nobody, w.stranger, w.noTLS = "kafka://"+broker.Addr(), sasl(nobody.Name, nobody.Password), sasl(nobody.Name, wrongPassword), "kafka://"+broker.SASLAddr()
	w.must("keyring", "create", w.keyring)
	w.must("admin", "migrate", "--clickhouse", w.database("mailbeacon"))
	w.must("admin", "migrate", "--clickhouse", w.database("newer"))
	for _, statement := range []string{"CREATE DATABASE empty", "INSERT INTO newer.migrations (version, name) VALUES (9999, 'of the future')"} {
		askClickHouse(t, w.store, statement)
	}
	admin := w.role("admin", "right")
	admin.launch()
	admin.awaitReady()
	admin.stop()
	return w
}

func (w *wrongSettings) must(args ...string) {
	w.t.Helper()
	if out, serr, code := mailbeacon(w.t.Context(), w.t, "", args...); code != 0 {
		w.t.Fatalf("%v: %s%s", args, out, serr)
	}
}

// role is a role with settings that are right, but for those that are given.
func (w *wrongSettings) role(name, folder string, wrong ...string) *server {
	w.t.Helper()
	is := map[string]string{"--kafka": w.kafka}
	switch name {
	case "edge":
		is["--keyring"], is["--listen"] = w.keyring, "127.0.0.1:0"
	case "consume":
		is["--clickhouse"] = w.database("mailbeacon")
	case "admin":
		is["--clickhouse"], is["--keyring"], is["--public-url"] = w.database("mailbeacon"), w.keyring, "http://t.example"
	}
	for i := 0; i < len(wrong); i += 2 {
		is[wrong[i]] = wrong[i+1]
	}
	args := []string{name}
	for setting, value := range is {
		args = append(args, setting, value)
	}
	return newRole(w.t, binary(w.t), filepath.Join(w.dir, folder), args...)
}

// checkWords checks what a role says of a wrong setting.
func checkWords(t *testing.T, out string, words []string) {
	t.Helper()
	for _, word := range words {
		if !strings.Contains(out, word) {
			t.Errorf("it does not say %q:\n%s", word, out)
		}
	}
	for _, never := range []string{"goroutine ", "panic", storePassword, wrongPassword, kafka.Users()[1].Password} {
		if strings.Contains(out, never) {
			t.Errorf("it says %q:\n%s", never, out)
		}
	}
}

// TestWrongSettings starts each role with settings that can't work: it ends with a message that names the
// setting, no stack and no secret in it. An edge serves without Kafka, so of that it says it and serves.
func TestWrongSettings(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts engines")
	}
	t.Parallel()
	w := newWrongSettings(t)
	old := clickhousetest.Own(t, clickhouse.Options{Password: storePassword, Version: "24.3.1.1"})
	askClickHouse(t, old, "CREATE DATABASE mailbeacon")
	const nowhere = "127.0.0.1:1"
	var (
		all    = []string{"edge", "consume", "admin"}
		starts = []string{"consume", "admin"} // those that don't start without Kafka
		admin  = []string{"admin"}
	)
	for i, tc := range []struct {
		what  string
		roles []string
		wrong []string
		says  []string
	}{
		{"a wrong scheme of Kafka", all, []string{"--kafka", "http://localhost"}, []string{"--kafka", "kafka://"}},
		{"no Kafka", all, []string{"--kafka", ""}, []string{"--kafka"}},
		{"an unknown mechanism", all, []string{"--kafka", "kafka://u:" + wrongPassword + "@" + nowhere + "?sasl=X"}, []string{"--kafka", "sasl"}},
		{"an unknown parameter of Kafka", all, []string{"--kafka", w.kafka + "?acks=1"}, []string{"--kafka", "acks"}},
		{"nobody at Kafka's address", starts, []string{"--kafka", "kafka://" + nowhere}, []string{"setting kafka", nowhere}},
		{"SASL and TLS that are not spoken", starts, []string{"--kafka", w.noTLS}, []string{"setting kafka", "TLS"}},
		{"a wrong password of Kafka", starts, []string{"--kafka", w.stranger}, []string{"setting kafka", `user "nobody"`, "password"}},
		{"no permission", starts, []string{"--kafka", w.nobody}, []string{"setting topics", `user "nobody"`, "mailbeacon.control", "ACL"}},
		{"a missing topic", []string{"consume"}, []string{"--topics", "elsewhere"}, []string{"setting topics", "elsewhere.control", "admin"}},
		{"a wrong count of partitions", admin, []string{"--partitions", "7"}, []string{"setting partitions", "12", "7"}},
		{"more replicas than brokers", admin, []string{"--topics", "another", "--replicas", "3"}, []string{"another.control", "replicas"}},
		{"a wrong scheme of ClickHouse", starts, []string{"--clickhouse", "postgres://localhost/x"}, []string{"--clickhouse", "clickhouse://"}},
		{"no ClickHouse", starts, []string{"--clickhouse", ""}, []string{"--clickhouse"}},
		{"the default database", starts, []string{"--clickhouse", w.database("default")}, []string{"--clickhouse", "database"}},
		{"nobody at ClickHouse's address", starts, []string{"--clickhouse", w.login(storePassword, nowhere, "mailbeacon")}, []string{"--clickhouse", nowhere}},
		{"HTTP at the native port", starts, []string{"--clickhouse", w.login(storePassword, w.store.HTTP, "mailbeacon")}, []string{"--clickhouse", w.store.HTTP}},
		{"a missing database", starts, []string{"--clickhouse", w.database("missing")}, []string{"--clickhouse", "missing", "admin migrate"}},
		{"a database without tables", starts, []string{"--clickhouse", w.database("empty")}, []string{"--clickhouse", "empty", "admin migrate"}},
		{"a newer schema", starts, []string{"--clickhouse", w.database("newer")}, []string{"--clickhouse", "newer mailbeacon", "9999"}},
		{"a wrong password of ClickHouse", starts, []string{"--clickhouse", w.login(wrongPassword, w.store.Native, "mailbeacon")}, []string{"--clickhouse", "password"}},
		{"an old ClickHouse", starts, []string{"--clickhouse", w.login(storePassword, old.Native, "mailbeacon")}, []string{"--clickhouse", "too old", "24.3"}},
		{"more commits than are remembered", []string{"consume"}, []string{"--commit-interval", "10ms"}, []string{"--commit-interval", "44ms", "--partitions"}},
		{"a missing keyring", []string{"edge", "admin"}, []string{"--keyring", filepath.Join(w.dir, "nothing.json")}, []string{"keyring", "nothing.json"}},
		{"a keyring that is none", []string{"edge", "admin"}, []string{"--keyring", w.otherKeyring}, []string{"keyring", "other.json"}},
		{"no public URL", admin, []string{"--public-url", ""}, []string{"public-url"}},
	} {
		for _, role := range tc.roles {
			t.Run(role+" with "+tc.what, func(t *testing.T) {
				s := w.role(role, fmt.Sprintf("wrong-%d-%s", i, role), tc.wrong...)
				s.launch()
				if code := s.wait(); code != 1 && code != 2 {
					t.Errorf("exit code %d (%v)", code, s.err)
				}
				checkWords(t, s.out.String(), tc.says)
			})
		}
	}
	for i, tc := range []struct {
		what  string
		wrong []string
		says  []string
	}{
		{"nobody at Kafka's address", []string{"--kafka", "kafka://" + nowhere}, []string{"setting kafka", nowhere}},
		{"a wrong password of Kafka", []string{"--kafka", w.stranger}, []string{"setting kafka", `user \"nobody\"`}},
		{"no permission", []string{"--kafka", w.nobody}, []string{"setting topics", `user \"nobody\"`, "mailbeacon.events", "ACL"}},
		{"a missing topic", []string{"--topics", "elsewhere"}, []string{"setting topics", "elsewhere.events"}},
	} {
		t.Run("edge with "+tc.what, func(t *testing.T) {
			s := w.role("edge", fmt.Sprintf("unshipped-%d", i), tc.wrong...)
			s.launch()
			s.ready()
			await(t, "it says why nothing is shipped", func() bool { return strings.Contains(s.out.String(), "nothing is shipped") })
			checkWords(t, s.out.String(), tc.says)
			if s.metric("mailbeacon_ship_faulty") != 1 {
				t.Error("no metric says that nothing is shipped")
			}
			if status, body := s.readyz(); status != 503 || !strings.Contains(body, "never read") {
				t.Errorf("an edge that knows nothing yet: %d %s", status, body)
			}
			s.stop()
		})
	}
	// A folder of another role, and one that is in use.
	s := w.role("consume", "right")
	s.launch()
	if code := s.wait(); code != 1 {
		t.Errorf("another role's folder: exit code %d", code)
	}
	checkWords(t, s.out.String(), []string{"--data", "mailbeacon admin"})
}

// askClickHouse runs a statement.
func askClickHouse(t *testing.T, s *clickhouse.Server, statement string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+s.HTTP+"/", strings.NewReader(statement))
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth("default", s.Password)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: status %d, %v: %s", statement, resp.StatusCode, err, b)
	}
}
