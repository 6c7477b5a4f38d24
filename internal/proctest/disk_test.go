package proctest

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestDamagedSpool damages events on disk that are not counted yet: the server says so, keeps the
// damaged bytes, and counts all others.
func TestDamagedSpool(t *testing.T) {
	ctx, data := t.Context(), t.TempDir()
	s := start(t, data, "--classify-window=10m", "--segment-bytes=64KiB")
	l := newLanes(ctx, t, s.client(), "spring", 1)[0]
	c, err := dial(s.public)
	if err != nil {
		t.Fatal(err)
	}
	const opens = 3000 // two segments and a bit, each event in a frame of its own
	for range opens {
		if _, err := c.get(l.path[open]); err != nil {
			t.Fatal(err)
		}
	}
	c.close()
	s.kill()
	first := filepath.Join(data, "spool", "0000000000000000.seg")
	b, err := os.ReadFile(first)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 500 {
		b[20000+i] ^= 0xff
	}
	if err := os.WriteFile(first, b, 0o600); err != nil {
		t.Fatal(err)
	}

	s = start(t, data, quick...)
	s.drain()
	r, err := s.client().Report(ctx, l.campaign)
	if err != nil {
		t.Fatal(err)
	}
	lost := s.metric("mailbeacon_fold_lost_total")
	if lost < 1 || lost > 20 {
		t.Errorf("%v events were lost, 500 bytes hold 1 to 20", lost)
	}
	if r.Opens.Total != opens-uint64(lost) {
		t.Errorf("%d opens counted, and %v lost, of %d", r.Opens.Total, lost, opens)
	}
	if s.metric("mailbeacon_spool_damaged_total") < 1 || !strings.Contains(s.out.String(), "damaged") {
		t.Errorf("it does not tell of the damage:\n%s", &s.out)
	}
	if bad, err := filepath.Glob(filepath.Join(data, "spool", "*.bad")); err != nil || len(bad) == 0 {
		t.Errorf("the damaged bytes are not kept: %v, %v", bad, err)
	}
	s.stop()
}

// TestDiskFull fills the disk under the server: beacons and links go on working, what is not kept is
// counted as such, readiness fails; and with space again it heals by itself.
func TestDiskFull(t *testing.T) {
	ctx := t.Context()
	s := startOnSmallDisk(t, 3<<20, append(quick, "--commit-interval=50ms")...)
	l := newLanes(ctx, t, s.client(), "spring", 1)[0]
	fillAndHeal(t, s, l)
	s.drain()
	r, err := s.client().Report(ctx, l.campaign)
	if err != nil {
		t.Fatal(err)
	}
	failed := uint64(s.metric("mailbeacon_spool_failed_appends_total"))
	got, answered := r.Opens.Total+r.Clicks.Total, l.answered[open]+l.answered[click]
	if got+failed != answered {
		t.Errorf("%d counted and %d not kept of %d", got, failed, answered)
	}
	t.Logf("%d answers, %d of them on a full disk", answered, failed)
	s.stop()
}

// TestEdgeStartsOnFullDisk: an edge that is restarted while its disk is full serves, and says what it can't do.
func TestEdgeStartsOnFullDisk(t *testing.T) {
	needsMounts(t)
	keyring := filepath.Join(t.TempDir(), "keyring.json")
	if out, serr, code := mailbeacon(t.Context(), t, "", "keyring", "create", keyring); code != 0 {
		t.Fatalf("make a keyring: %s%s", out, serr)
	}
	s := newRole(t, binary(t), t.TempDir(), "edge", "--listen", "127.0.0.1:0", "--kafka", "kafka://127.0.0.1:1", "--keyring", keyring, "--segment-bytes", "64KiB")
	s.runOnSmallDisk(3<<20,
		`{ "$@" & until [ -s edge.addr ]; do sleep 0.05; done; kill -TERM $! && wait $!; }`,
		`rm edge.addr admin.addr`,
		`{ dd if=/dev/zero of=ballast bs=4k; echo filled; }`)
	var public string
	await(t, "the edge starts again", func() bool {
		_, second, _ := strings.Cut(s.out.String(), "filled")
		_, line, started := strings.Cut(second, "msg=ready role=edge edge=")
		public, _, _ = strings.Cut(line, " ")
		return started
	})
	c, err := dial(public)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	if status, err := c.get("/robots.txt"); err != nil || status != http.StatusOK {
		t.Errorf("status %d, %v", status, err)
	}
	if !strings.Contains(s.out.String(), "the disk is full: the data folder does not tell the address") {
		t.Errorf("the disk was not full; it said:\n%s", &s.out)
	}
	s.stop()
}

// fillAndHeal fills the server's disk and makes room again, asking all the while.
func fillAndHeal(t *testing.T, s *server, l *lane) {
	t.Helper()
	c, err := dial(s.public)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	ask := func(n int) {
		t.Helper()
		l.ask(t, c, n)
	}
	ask(100)
	ballast := fillDisk(t, s.data)
	for deadline := time.Now().Add(patience); s.metric("mailbeacon_spool_failed_appends_total") == 0; {
		ask(100)
		if time.Now().After(deadline) {
			t.Fatal("the disk is full, and nothing fails")
		}
	}
	ask(100)
	if status, body := s.readyz(); status != http.StatusServiceUnavailable || !strings.Contains(body, "no space left") {
		t.Errorf("readiness with a full disk: %d %s", status, body)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		ask(2)
		if status, body := s.readyz(); status == http.StatusOK {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("the server does not recover: %s\n%s", body, &s.out)
		}
	}
	ask(100)
}

// ask asks for opens and clicks, which must be answered.
func (l *lane) ask(t *testing.T, c *conn, n int) {
	t.Helper()
	for i := range n {
		kind := i % 2 // open or click
		status, err := c.get(l.path[kind])
		if err != nil || status != wantStatus[kind] {
			t.Fatalf("status %d, %v", status, err)
		}
		l.answered[kind]++
	}
}

// startOnSmallDisk starts the server with its folder on a file system of its own.
func startOnSmallDisk(t *testing.T, size int, args ...string) *server {
	t.Helper()
	needsMounts(t)
	s := newServer(t, binary(t), t.TempDir(), args...)
	s.runOnSmallDisk(size)
	s.ready()
	return s
}

// needsMounts skips a test where no file system can be mounted.
func needsMounts(t *testing.T) {
	t.Helper()
	if err := exec.Command("unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt").Run(); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("no file system can be mounted in a namespace: %v", err)
		}
		t.Skipf("no file system can be mounted in a namespace: %v", err)
	}
}

// runOnSmallDisk is run with the folder on a file system of its own, in which commands of the shell may do something first.
func (s *server) runOnSmallDisk(size int, first ...string) {
	s.t.Helper()
	data := s.data
	s.cmd = exec.Command("unshare", append([]string{"-rm", "sh", "-c",
		fmt.Sprintf(`mount -t tmpfs -o size=%d none "$1" && cd "$1" && shift && %s exec "$@"`, size, strings.Join(append(first, ""), " && ")), "sh", data}, s.cmd.Args...)...)
	s.cmd.Env, s.cmd.Stdout, s.cmd.Stderr = environ(), &s.out, &s.out
	s.run()
	// The file system is there in the server's eyes only.
	s.data = fmt.Sprintf("/proc/%d/root%s", s.cmd.Process.Pid, data)
}

// fillDisk leaves no byte free and returns the file to remove.
func fillDisk(t *testing.T, dir string) string {
	t.Helper()
	path := filepath.Join(dir, "ballast")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 16; size > 0; {
		if _, err := f.Write(make([]byte, size)); errors.Is(err, syscall.ENOSPC) {
			size /= 2
		} else if err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// readyz asks for readiness.
func (s *server) readyz() (int, string) {
	s.t.Helper()
	addr, err := os.ReadFile(filepath.Join(s.data, "admin.addr"))
	if err != nil {
		s.t.Fatal(err)
	}
	resp, err := http.Get(strings.TrimSpace(string(addr)) + "/readyz")
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}
