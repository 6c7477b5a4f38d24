package proctest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"mailbeacon/internal/client"
)

// patience is how long anything may take before a test fails.
const patience = time.Minute

// quick are settings under which much happens in a short time.
var quick = []string{"--classify-window=100ms", "--commit-interval=20ms", "--segment-bytes=64KiB"}

// server is a process of the real binary.
type server struct {
	t      *testing.T
	data   string
	cmd    *exec.Cmd
	out    output
	ended  chan struct{}
	err    error  // how it ended; after ended
	public string // host:port
}

// output collects what a process prints.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// newServer makes a server that does not run yet.
func newServer(t *testing.T, path, data string, args ...string) *server {
	t.Helper()
	return newRole(t, path, data, append([]string{"serve", "--listen", "127.0.0.1:0"}, args...)...)
}

// newRole makes a process of any role that does not run yet.
func newRole(t *testing.T, path, data string, args ...string) *server {
	t.Helper()
	s := &server{t: t, data: data, ended: make(chan struct{})}
	s.cmd = exec.Command(path, append(args, "--data", data, "--admin", "127.0.0.1:0")...)
	s.cmd.Env = environ()
	s.cmd.Stdout, s.cmd.Stderr = &s.out, &s.out
	return s
}

// launch starts the binary without waiting for it.
func launch(t *testing.T, path, data string, args ...string) *server {
	t.Helper()
	s := newServer(t, path, data, args...)
	s.launch()
	return s
}

// launch runs a server whose folder may have been another's before.
func (s *server) launch() {
	s.t.Helper()
	// An address of the run before would be taken for this one's.
	for _, name := range []string{"edge.addr", "admin.addr"} {
		if err := os.Remove(filepath.Join(s.data, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.t.Fatal(err)
		}
	}
	s.run()
}

// environ is this process's environment without what would configure the server.
func environ() []string {
	var env []string
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "MAILBEACON_") {
			env = append(env, kv)
		}
	}
	return append(env, "GORACE=halt_on_error=1")
}

func (s *server) run() {
	s.t.Helper()
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	go func() {
		s.err = s.cmd.Wait()
		close(s.ended)
	}()
	s.t.Cleanup(func() {
		s.kill()
		if strings.Contains(s.out.String(), "DATA RACE") {
			s.t.Errorf("the server has a data race:\n%s", &s.out)
		}
	})
}

// start starts the binary and waits until it serves.
func start(t *testing.T, data string, args ...string) *server {
	t.Helper()
	s := launch(t, binary(t), data, args...)
	s.ready()
	return s
}

// ready waits until the server answers.
func (s *server) ready() {
	s.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		select {
		case <-s.ended:
			s.t.Fatalf("the server ended (%v) instead of serving:\n%s", s.err, &s.out)
		default:
		}
		b, err := os.ReadFile(filepath.Join(s.data, "edge.addr"))
		if err != nil {
			continue
		}
		s.public = strings.TrimSpace(string(b))
		if c, err := dial(s.public); err == nil {
			status, err := c.get("/robots.txt")
			c.close()
			if err == nil && status == 200 {
				return
			}
		}
	}
	s.t.Fatalf("the server does not answer; it said:\n%s", &s.out)
}

// kill ends the server as the kernel would. It may be called on one that has ended.
func (s *server) kill() {
	_ = s.cmd.Process.Kill()
	<-s.ended
}

// signal sends the process a signal.
func (s *server) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

// stop asks the server to end and waits until it has.
func (s *server) stop() {
	s.t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		s.t.Fatal(err)
	}
	s.wait()
	if s.err != nil {
		s.t.Fatalf("the server ended with %v:\n%s", s.err, &s.out)
	}
}

// wait waits until the server has ended and returns its exit code.
func (s *server) wait() int {
	s.t.Helper()
	select {
	case <-s.ended:
	case <-time.After(patience):
		s.kill()
		s.t.Fatalf("the server does not end:\n%s", &s.out)
	}
	return s.cmd.ProcessState.ExitCode()
}

// client speaks to the server's private side with the admin key.
func (s *server) client() *client.Client {
	s.t.Helper()
	c, err := client.Find(client.Where{Data: s.data})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(c.Close)
	return c
}

// mailbeacon runs a client command and returns what it printed.
func mailbeacon(ctx context.Context, t *testing.T, stdin string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := exec.CommandContext(ctx, binary(t), args...)
	cmd.Env = environ()
	cmd.Stdin = strings.NewReader(stdin)
	var o, e bytes.Buffer
	cmd.Stdout, cmd.Stderr = &o, &e
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(fmt.Errorf("run %v: %w", args, err))
	}
	return o.String(), e.String(), cmd.ProcessState.ExitCode()
}
