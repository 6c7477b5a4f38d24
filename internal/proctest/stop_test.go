package proctest

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestSecondSignal: a stop waits for a request that does not end. A second signal ends the process at once, not
// in order, and what was answered is counted by the next one all the same.
func TestSecondSignal(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			data := filepath.Join(t.TempDir(), "data")
			s := start(t, data, "--stop-timeout=10m")
			lane := newLanes(t.Context(), t, s.client(), "stop", 1)[0]
			ask(t, s, lane, 20)
			upload(t, s)
			s.signal(sig)
			s.awaitOutput("msg=stopping")
			select {
			case <-s.ended:
				t.Fatalf("the stop waits for nothing, so this tests nothing:\n%s", &s.out)
			case <-time.After(100 * time.Millisecond):
			}
			s.signal(sig)
			if code := s.wait(); code != 128+int(sig) {
				t.Errorf("exit code %d, want %d", code, 128+int(sig))
			}
			if out := s.out.String(); strings.Contains(out, "msg=stopped") || !strings.Contains(out, "for the second time") {
				t.Errorf("it said:\n%s", out)
			}
			s = start(t, data, quick...)
			s.drain()
			lane.check(t.Context(), t, s.client())
			s.stop()
		})
	}
}

// upload begins a list of decisions that does not end, and waits until the server reads it.
func upload(t *testing.T, s *server) {
	t.Helper()
	addr, err := os.ReadFile(filepath.Join(s.data, "admin.addr"))
	if err != nil {
		t.Fatal(err)
	}
	key, err := os.ReadFile(filepath.Join(s.data, "admin.key"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", strings.TrimPrefix(strings.TrimSpace(string(addr)), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if _, err := fmt.Fprintf(c, "POST /v1/consent/import HTTP/1.1\r\nHost: t.example\r\nAuthorization: Bearer %s\r\n"+
		"Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n", strings.TrimSpace(string(key))); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(c).ReadString('\n'); err != nil || !strings.Contains(line, " 100 ") {
		t.Fatalf("the upload is answered %q, %v", line, err)
	}
}

// awaitOutput waits until the process said something.
func (s *server) awaitOutput(what string) {
	s.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if strings.Contains(s.out.String(), what) {
			return
		}
	}
	s.t.Fatalf("it does not say %q:\n%s", what, &s.out)
}
