package deploy_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience is how long anything may take; the first start on a machine fetches the engines.
const patience = 15 * time.Minute

// script is deploy/cluster on a folder.
type script struct {
	t   *testing.T
	dir string
	env []string
}

// newScript is a cluster that ends with the test.
func newScript(t *testing.T) *script {
	t.Helper()
	// Engines that this process's environment names are not ours to leave tables in.
	s := &script{t, filepath.Join(t.TempDir(), "cluster"), environ("MAILBEACON="+program(t), "MAILBEACON_CLASSIFY_WINDOW=500ms", "MAILBEACON_COMMIT_INTERVAL=100ms")}
	t.Cleanup(func() {
		if _, err := os.Stat(filepath.Join(s.dir, "lock")); err != nil {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if out, code := run(ctx, t, "", s.env, "./cluster", "down", s.dir); code != 0 {
			t.Errorf("down at the end: exit code %d\n%s", code, out)
		}
		if left := processes(t, s.dir); len(left) > 0 {
			t.Errorf("processes are left: %q", left)
		}
	})
	return s
}

// do runs the script and wants an exit code.
func (s *script) do(want int, command string) string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	out, code := run(ctx, s.t, "", s.env, "./cluster", command, s.dir)
	if code != want {
		s.t.Fatalf("cluster %s: exit code %d, want %d\n%s", command, code, want, out)
	}
	return out
}

// processes are the command lines that name a folder.
func processes(t *testing.T, dir string) []string {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, path := range all {
		b, err := os.ReadFile(path)
		if line := strings.ReplaceAll(string(b), "\x00", " "); err == nil && strings.Contains(line, dir) {
			found = append(found, line)
		}
	}
	return found
}

// pids are the roles' processes, by the files that hold them.
func (s *script) pids() map[string]string {
	s.t.Helper()
	all, err := filepath.Glob(filepath.Join(s.dir, "*.pid"))
	if err != nil {
		s.t.Fatal(err)
	}
	pids := map[string]string{}
	for _, path := range all {
		pids[filepath.Base(path)] = text(s.t, path)
	}
	return pids
}

// totals are what the report says of the first campaign.
func (s *script) totals() (opens, clicks uint64) {
	s.t.Helper()
	out, code := run(s.t.Context(), s.t, "", environ(), program(s.t), "report", "spring", "--json", "--data", filepath.Join(s.dir, "admin"))
	var report struct {
		Opens  struct{ Total uint64 }
		Clicks struct{ Total uint64 }
	}
	if err := json.Unmarshal([]byte(out), &report); code != 0 || err != nil {
		s.t.Fatalf("report: exit code %d, %v\n%s", code, err, out)
	}
	return report.Opens.Total, report.Clicks.Total
}

// visit opens an address as a reader's browser does.
func visit(t *testing.T, address string, want int) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
	c := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != want {
		t.Errorf("%s: status %d, want %d", address, resp.StatusCode, want)
	}
}

// TestCluster is a person's first hour with deploy/cluster: what it prints is pasted, and works.
func TestCluster(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts a whole cluster, twice")
	}
	t.Parallel()
	s := newScript(t)
	out := s.do(0, "up")
	_, pasted, ok := strings.Cut(out, "A first campaign:\n\n")
	pasted, _, end := strings.Cut(pasted, "\n\n")
	if !ok || !end {
		t.Fatalf("up says nothing of a first campaign:\n%s", out)
	}
	work := t.TempDir()
	if out, code := run(t.Context(), t, work, environ(), "bash", "-euc", pasted); code != 0 || !strings.Contains(out, "spring") {
		t.Fatalf("what up prints, pasted: exit code %d\n%s\n%s", code, pasted, out)
	}
	mail := text(t, filepath.Join(work, "ann.html"))
	address := regexp.MustCompile(`"(http://127\.0\.0\.1:\d+)/([oc])/[^"]+"`)
	found := map[string]string{}
	for _, m := range address.FindAllStringSubmatch(mail, -1) {
		found[m[2]] = strings.Trim(m[0], `"`)
	}
	s.edges(found["o"])
	visit(t, found["o"], http.StatusOK)
	visit(t, found["c"], http.StatusFound)
	s.await(1, 1)

	before := s.pids()
	s.do(0, "up")
	if after := s.pids(); len(after) != 5 || !same(before, after) {
		t.Errorf("up again: %v, were %v", after, before)
	}
	if out := s.do(0, "status"); strings.Count(out, "ready\n") != 5 {
		t.Errorf("status:\n%s", out)
	}

	s.kill("consume-1")
	if out := s.do(1, "status"); !strings.Contains(out, "does not run") || strings.Count(out, "ready\n") != 4 {
		t.Errorf("status without a consumer:\n%s", out)
	}
	if out := s.do(0, "up"); strings.Count(out, "started ") != 1 || !strings.Contains(out, "started consume-1") {
		t.Errorf("up with a consumer dead:\n%s", out)
	}

	s.do(0, "down")
	if left := processes(t, s.dir); len(left) > 0 {
		t.Errorf("processes are left: %q", left)
	}
	s.do(0, "down")
	s.do(1, "status")

	// The data stays, and the mail that was made goes on working.
	s.do(0, "up")
	visit(t, found["c"], http.StatusFound)
	s.await(1, 2)
}

// edges waits until the edges know the campaign, whose answers are the same before.
func (s *script) edges(pixel string) {
	s.t.Helper()
	applied := func(name string) string {
		addr := strings.TrimSpace(text(s.t, filepath.Join(s.dir, name, "admin.addr")))
		resp, err := http.Get(addr + "/metrics")
		if err != nil {
			s.t.Fatal(err)
		}
		defer resp.Body.Close()
		out, err := io.ReadAll(resp.Body)
		if err != nil {
			s.t.Fatal(err)
		}
		m := regexp.MustCompile(`(?m)^mailbeacon_control_applied (\S+)`).FindStringSubmatch(string(out))
		if m == nil {
			return ""
		}
		return m[1]
	}
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if want := applied("admin"); want != "" && want == applied("edge-1") && want == applied("edge-2") {
			return
		}
	}
	s.t.Fatalf("the edges do not know of %s", pixel)
}

// await waits for numbers in the report, and looks whether they stay.
func (s *script) await(opens, clicks uint64) {
	s.t.Helper()
	var o, c uint64
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if o, c = s.totals(); o == opens && c == clicks {
			return
		}
	}
	s.t.Fatalf("%d opens and %d clicks are counted, want %d and %d", o, c, opens, clicks)
}

func same(a, b map[string]string) bool {
	for name, pid := range a {
		if b[name] != pid {
			return false
		}
	}
	return len(a) == len(b)
}

// kill ends a role as the kernel would.
func (s *script) kill(name string) {
	s.t.Helper()
	number, _, _ := strings.Cut(s.pids()[name+".pid"], " ")
	pid := 0
	for _, digit := range number {
		pid = pid*10 + int(digit-'0')
	}
	if pid < 2 {
		s.t.Fatalf("%s.pid holds %q", name, number)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		s.t.Fatal(err)
	}
}

// TestClusterSaysWhatIsWrong calls the script in wrong ways; none of them starts anything.
func TestClusterSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	foreign := t.TempDir()
	if err := os.WriteFile(filepath.Join(foreign, "letter"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	fresh := func() string { return filepath.Join(t.TempDir(), "new") }
	for _, c := range []struct {
		args []string
		env  []string
		code int
		says string
	}{
		{nil, nil, 2, "usage: "},
		{[]string{"sideways"}, nil, 2, "usage: "},
		{[]string{"up", "a", "b"}, nil, 2, "usage: "},
		{[]string{"status", fresh()}, nil, 1, "there is no cluster in "},
		{[]string{"down", fresh()}, nil, 1, "there is no cluster in "},
		{[]string{"up", foreign}, nil, 1, "holds something else"},
		{[]string{"up", fresh()}, []string{"MAILBEACON=/nowhere/mailbeacon"}, 1, "no program"},
		{[]string{"up", fresh()}, []string{"MAILBEACON=" + program(t), "MAILBEACON_KAFKA=kafka://127.0.0.1:1"}, 1, "go together"},
		{[]string{"up", fresh()}, []string{"MAILBEACON=" + program(t), "MAILBEACON_KAFKA=kafka://127.0.0.1:1", "MAILBEACON_CLICKHOUSE=clickhouse://127.0.0.1:1/m"}, 1, "no server answers"},
	} {
		out, code := run(t.Context(), t, "", environ(c.env...), "./cluster", c.args...)
		if code != c.code || !strings.Contains(out, c.says) {
			t.Errorf("cluster %v with %v: exit code %d, want %d and %q\n%s", c.args, c.env, code, c.code, c.says, out)
		}
	}
}
